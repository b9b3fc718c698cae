"""Python source that builds a backbone of this suite by timm and torch alone."""

from dataclasses import replace

import timm
import torch
from timm.models.byobnet import ByoBlockCfg, ByoModelCfg

from backbones.registry import BACKBONES
from backbones.slim import CONFIGURATIONS
from backbones.stem import SMALL_IMAGE, use_small_stem


def source_of(name: str, image_size: int) -> str | None:
    """Source that assigns the network of `backbones.create`, at random weights, to `model`; None for a user's own network.

    Args:
        name: of the backbone.
        image_size: in px.
    """
    if name in CONFIGURATIONS:
        return _byobnet(CONFIGURATIONS[name])
    if name in BACKBONES:
        return None
    create = f'model = timm.create_model("{name}", num_classes=0)'
    if image_size > SMALL_IMAGE:
        return f"import timm\n\n{create}"
    with torch.device("meta"):
        stem = use_small_stem(timm.create_model(name, num_classes=0), name)
    lines = [f'model.set_submodule("{place}", nn.{module!r})' for place, module in stem.items()]
    return "\n".join(["import timm", "from torch import nn", "", create, *lines])


def _byobnet(config: ByoModelCfg) -> str:
    blocks = "".join(f"        ByoBlockCfg({_arguments(block, ByoBlockCfg('', 0, 0))}),\n" for block in config.blocks)
    others = _arguments(replace(config, blocks=()), ByoModelCfg(blocks=()))
    return (
        "from timm.models.byobnet import ByobNet, ByoBlockCfg, ByoModelCfg\n\n"
        f"config = ByoModelCfg(\n    blocks=(\n{blocks}    ),\n    {others},\n)\n"
        "model = ByobNet(config, num_classes=0)"
    )


def _arguments(config: object, default: object) -> str:
    """Keyword arguments of the fields that differ from those of `default`."""
    return ", ".join(f"{name}={value!r}" for name, value in vars(config).items() if value != vars(default)[name])
