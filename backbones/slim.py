"""Slim ResNets for the `cpu` and `smoke` presets: few, narrow basic blocks for 32-px images on a CPU."""

from timm.models.byobnet import ByoBlockCfg, ByobNet, ByoModelCfg
from torch import nn

from backbones.registry import BACKBONES


def _configuration(*stages: ByoBlockCfg) -> ByoModelCfg:
    """Stages after a 3x3 stem of stride 2 with the channels of the first stage, without max-pool."""
    return ByoModelCfg(blocks=stages, stem_chs=stages[0].c, stem_type="3x3", stem_pool="")


def _basic(widths: tuple[int, ...], depths: tuple[int, ...]) -> ByoModelCfg:
    """Stages of basic blocks; every stage but the first halves the resolution.

    Args:
        widths: channels per stage; the first is also that of the stem, the last the feature dimension.
        depths: blocks per stage.
    """
    stages = enumerate(zip(widths, depths, strict=True))
    return _configuration(
        *(ByoBlockCfg(type="basic", d=depth, c=width, s=2 if stage else 1, gs=0) for stage, (width, depth) in stages)
    )


CONFIGURATIONS = {
    "fast-resnet8": _configuration(
        ByoBlockCfg(type="basic", d=1, c=32, s=1, gs=0),
        ByoBlockCfg(type="basic", d=1, c=128, s=2, gs=0),
        ByoBlockCfg(type="edge", d=1, c=512, s=2, gs=0, br=0.5),
    ),
    "slim-resnet8": _basic((64, 128, 256), (1, 1, 1)),
    "slim-resnet8-32": _basic((32, 64, 128), (1, 1, 1)),
    "slim-resnet14": _basic((64, 128, 256), (2, 2, 2)),
    "tiny-resnet8": _basic((16, 32, 64), (1, 1, 1)),
}


def _network(name: str) -> nn.Module:
    return ByobNet(CONFIGURATIONS[name], num_classes=0, zero_init_last=False)


@BACKBONES.register("fast-resnet8")
def fast_resnet8() -> nn.Module:
    """Three residual blocks, 32-128-512 channels, 0.7 M parameters: the best accuracy after a minute of training on two cores.

    Early layers, which cost most, are narrow; the feature dimension is that of ResNet-18. The last block has a 3x3 convolution
    to 256 channels and a 1x1 convolution to 512: on 2x2 maps, most weights of a 3x3 kernel are applied to padding.
    """
    return _network("fast-resnet8")


@BACKBONES.register("slim-resnet8")
def slim_resnet8() -> nn.Module:
    """Three basic blocks, 64-128-256 channels, 1.2 M parameters."""
    return _network("slim-resnet8")


@BACKBONES.register("slim-resnet8-32")
def slim_resnet8_32() -> nn.Module:
    """Three basic blocks, 32-64-128 channels, 0.3 M parameters, for studies with many runs."""
    return _network("slim-resnet8-32")


@BACKBONES.register("slim-resnet14")
def slim_resnet14() -> nn.Module:
    """Six basic blocks, 64-128-256 channels, 2.8 M parameters."""
    return _network("slim-resnet14")


@BACKBONES.register("tiny-resnet8")
def tiny_resnet8() -> nn.Module:
    """Three basic blocks, 16-32-64 channels, for tests and the smoke preset."""
    return _network("tiny-resnet8")
