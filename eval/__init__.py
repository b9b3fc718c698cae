"""Frozen features to numbers: feature extraction, named probe protocols, many, medium and few groups."""
