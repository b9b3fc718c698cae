"""Shared foundations: user errors, registries, settings, seeds, atomic files. Does not import torch."""
