"""From a name to a network without a classifier."""

from collections.abc import Callable

import timm
import torch
from torch import nn

from backbones.stem import SMALL_IMAGE, use_small_stem
from core.errors import UserError, nearest
from core.registry import Registry

# name -> builder of a network whose forward gives pooled (B, d) features; all else comes from timm by its own name
BACKBONES: Registry[Callable[[], nn.Module]] = Registry("backbone", package="backbones")


def create(name: str, image_size: int) -> nn.Module:
    """Builds a randomly initialised backbone: (B, 3, H, W) images to pooled (B, d) features.

    timm models get the stem for small images where `image_size` (side in pixels) asks for it. Residual branches start with
    their last norm at one, as in the SDCLR reference, not at zero as is timm's default.

    Raises:
        UserError: unknown name, or a network whose stem cannot be fitted to small images.
    """
    if name in BACKBONES:
        return BACKBONES[name]()
    if not timm.is_model(name):
        raise UserError(f"no backbone is named {name!r}{nearest(name, [*BACKBONES.names(), *timm.list_models()])}")
    backbone = _create_timm(name)
    if image_size <= SMALL_IMAGE:
        use_small_stem(backbone, name)
    return backbone


def feature_width(backbone: nn.Module, image_size: int) -> int:
    """Width d of the pooled features, found by a forward pass in eval mode (some timm heads widen them)."""
    training = backbone.training
    backbone.eval()
    with torch.no_grad():
        width = backbone(torch.zeros(1, 3, image_size, image_size)).shape[-1]
    backbone.train(training)
    return width


def _create_timm(name: str) -> nn.Module:
    try:
        return timm.create_model(name, num_classes=0, zero_init_last=False)
    except TypeError:  # not a residual network: it has no such option
        return timm.create_model(name, num_classes=0)
