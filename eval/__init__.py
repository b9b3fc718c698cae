"""Frozen features to numbers: feature extraction, named probe protocols, head/mid/tail groups."""
