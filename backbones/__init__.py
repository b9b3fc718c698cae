"""Backbones: any timm model by name, and slim ResNets defined here."""

from backbones.registry import BACKBONES, create, feature_width

__all__ = ["BACKBONES", "create", "feature_width"]
