"""Backbones: any timm model by name, and slim ResNets defined here."""

from backbones.registry import BACKBONES, canonical, create, feature_width

__all__ = ["BACKBONES", "canonical", "create", "feature_width"]
