"""Slim ResNets for the `cpu` and `smoke` presets: few, narrow basic blocks for 32-px images on a CPU."""

from timm.models.byobnet import ByoBlockCfg, ByobNet, ByoModelCfg
from torch import nn

from backbones.registry import BACKBONES


def slim_resnet(widths: tuple[int, ...], depths: tuple[int, ...]) -> nn.Module:
    """Builds a ResNet of timm's basic blocks with a 3x3 stem of stride 2 and no max-pool.

    Args:
        widths: channels per stage; the first is also that of the stem, the last the feature dimension.
        depths: basic blocks per stage; every stage but the first halves the resolution.
    """
    stages = tuple(
        ByoBlockCfg(type="basic", d=depth, c=width, s=1 if stage == 0 else 2, gs=0)
        for stage, (width, depth) in enumerate(zip(widths, depths, strict=True))
    )
    return _small_stem(stages, widths[0])


def _small_stem(stages: tuple[ByoBlockCfg, ...], width: int) -> nn.Module:
    """Builds the stages after a 3x3 stem of stride 2 with `width` channels, without classifier."""
    config = ByoModelCfg(blocks=stages, stem_chs=width, stem_type="3x3", stem_pool="")
    return ByobNet(config, num_classes=0, zero_init_last=False)


@BACKBONES.register("fast-resnet8")
def fast_resnet8() -> nn.Module:
    """Three residual blocks, 32-128-512 channels, 0.7 M parameters: the best accuracy after a minute of training on two cores.

    Early layers, which cost most, are narrow; the feature dimension is that of ResNet-18. The last block has a 3x3 convolution
    to 256 channels and a 1x1 convolution to 512: on 2x2 maps, most weights of a 3x3 kernel are applied to padding.
    """
    basic = (ByoBlockCfg(type="basic", d=1, c=width, s=stride, gs=0) for width, stride in ((32, 1), (128, 2)))
    last = ByoBlockCfg(type="edge", d=1, c=512, s=2, gs=0, br=0.5)
    return _small_stem((*basic, last), 32)


@BACKBONES.register("slim-resnet8")
def slim_resnet8() -> nn.Module:
    """Three basic blocks, 64-128-256 channels, 1.2 M parameters."""
    return slim_resnet((64, 128, 256), (1, 1, 1))


@BACKBONES.register("slim-resnet8-32")
def slim_resnet8_32() -> nn.Module:
    """Three basic blocks, 32-64-128 channels, 0.3 M parameters, for studies with many runs."""
    return slim_resnet((32, 64, 128), (1, 1, 1))


@BACKBONES.register("slim-resnet14")
def slim_resnet14() -> nn.Module:
    """Six basic blocks, 64-128-256 channels, 2.8 M parameters."""
    return slim_resnet((64, 128, 256), (2, 2, 2))


@BACKBONES.register("tiny-resnet8")
def tiny_resnet8() -> nn.Module:
    """Three basic blocks, 16-32-64 channels, for tests and the smoke preset."""
    return slim_resnet((16, 32, 64), (1, 1, 1))
