"""Networks: any timm model by name, and the few that the suite declares itself."""

from backbones.registry import BACKBONES, create, feature_width

__all__ = ["BACKBONES", "create", "feature_width"]
