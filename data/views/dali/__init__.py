"""Modules that import DALI; a separate package, as registries import every module of `data.views`."""
