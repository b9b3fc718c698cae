"""Shared foundations: user errors, registries, settings, schema, arrays, seeds, files. Does not import torch."""
