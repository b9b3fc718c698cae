"""Small-image stem: one 3x3 convolution with stride 1 instead of the strided convolution and max-pool."""

from torch import nn

from core.errors import UserError

SMALL_IMAGE = 64  # px; up to this size, the small-image stem is used


def use_small_stem(backbone: nn.Module, name: str) -> dict[str, nn.Module]:
    """Replaces the first convolution by 3x3, stride 1, padding 1, and the stem's max-pool by the identity, in place.

    Returns the new modules by their names in the backbone.

    A 32x32 image then gives 32x32 maps after the stem (34x34 with padding 2 as in solo-learn). Patch embeddings are not
    supported.

    Args:
        backbone: a timm model with a convolutional stem.
        name: its name, for the message.

    Raises:
        UserError: the first layer is not an ordinary convolution.
    """
    path = getattr(backbone, "pretrained_cfg", {}).get("first_conv")
    first = backbone.get_submodule(path) if isinstance(path, str) else None
    if (
        not isinstance(path, str)
        or not isinstance(first, nn.Conv2d)
        or first.kernel_size[0] < 3
        or first.stride[0] == first.kernel_size[0]
    ):
        raise UserError(
            f"backbone {name!r} has no convolutional stem, which images of {SMALL_IMAGE} px or less need; use a ResNet, "
            "DenseNet, EfficientNet or MobileNet of timm"
        )
    conv = nn.Conv2d(first.in_channels, first.out_channels, 3, stride=1, padding=1, bias=first.bias is not None)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    pools = ("maxpool", "features.pool0")  # in ResNets and DenseNets
    new: dict[str, nn.Module] = {path: conv, **{pool: nn.Identity() for pool in pools if _has(backbone, pool)}}
    for place, module in new.items():
        backbone.set_submodule(place, module)
    return new


def _has(module: nn.Module, path: str) -> bool:
    try:
        module.get_submodule(path)
    except AttributeError:
        return False
    return True
