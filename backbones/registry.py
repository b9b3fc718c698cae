"""Backbone registry: creates a network without classifier by name."""

from collections.abc import Callable
from difflib import get_close_matches

import timm
import torch
from torch import nn

from backbones.stem import SMALL_IMAGE, use_small_stem
from core.errors import SIMILAR, UserError, nearest
from core.registry import Registry

# name -> builder of a network with pooled (B, d) features; other names are timm models
BACKBONES: Registry[Callable[[], nn.Module]] = Registry("backbone", package="backbones")

TIMM_PREFIXES = ("hf-hub:", "hf_hub:", "timm/")  # of names of timm's models on the Hugging Face hub


def canonical(name: str) -> str:
    """Name of a backbone without the prefixes of the Hugging Face hub: `resnet18` for `hf-hub:timm/resnet18`."""
    for prefix in TIMM_PREFIXES:
        name = name.removeprefix(prefix)
    return name


def create(name: str, image_size: int) -> nn.Module:
    """Creates a randomly initialised backbone: (B, 3, H, W) images to pooled (B, d) features.

    timm models get the small-image stem if `image_size` (px) is at most `SMALL_IMAGE`. The last norm of residual branches is
    initialised to one as in the SDCLR reference, not to zero as is timm's default.

    Raises:
        UserError: unknown name, or a network without a replaceable stem for small images.
    """
    if name in BACKBONES:
        return BACKBONES[name]()
    if not timm.is_model(name):
        raise UserError(f"no backbone is named {name!r}{_near(name)}")
    backbone = _create_timm(name)
    if image_size <= SMALL_IMAGE:
        use_small_stem(backbone, name)
    return backbone


def feature_width(backbone: nn.Module, image_size: int) -> int:
    """Feature dimension d, measured by a forward pass in eval mode, as some timm heads change it."""
    training = backbone.training
    backbone.eval()
    with torch.no_grad():
        width = backbone(torch.zeros(1, 3, image_size, image_size)).shape[-1]
    backbone.train(training)
    return width


def _near(name: str) -> str:
    """Names the five closest backbones, or as many as are similar: timm has families of models with similar names."""
    names = [*BACKBONES.names(), *timm.list_models()]
    close = [repr(near) for near in get_close_matches(name.lower(), names, n=5, cutoff=SIMILAR)]
    return f"; did you mean {', '.join(close[:-1])} or {close[-1]}?" if len(close) > 1 else nearest(name, names)


def _create_timm(name: str) -> nn.Module:
    try:
        try:
            return timm.create_model(name, num_classes=0, zero_init_last=False)
        except TypeError:  # only residual networks have this option
            return timm.create_model(name, num_classes=0)
    except RuntimeError as error:
        architecture, _, tag = name.partition(".")
        if "pretrained tag" not in str(error):
            raise
        message = f"timm has no weights {tag!r} of {architecture}; give the name of the network, {architecture}"
        raise UserError(message) from error
