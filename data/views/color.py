"""Batched colour operations on flattened channels, without a loop over images.

Semantics are torchvision's for float images: results are clamped to [0, 1] after each operation; the order is per image.
"""

from functools import cache

import torch
from torch import Tensor

from data.views.params import JITTER, Params
from data.views.resample import gaussian_blur
from data.views.spec import View

LUMA = (0.299, 0.587, 0.114)  # ITU-R 601, as Pillow's "L" mode
BRIGHTNESS, CONTRAST, SATURATION, HUE = range(len(JITTER))
SOLARIZE_FROM = 127.5 / 255  # rounds to level 128, Pillow's threshold


def color(images: Tensor, view: View, params: Params) -> Tensor:
    """Applies all operations after the crop except RandAugment: (B, 3, S, S) in [0, 1] to normalised; may modify `images`."""
    size = images.shape[2:]
    planes = color_jitter(images.flatten(2), params.jitter, params.order, params.factor)
    if not (view.blur_p or view.solarize_p):
        return gray_and_normalize(planes, params.gray, view.mean, view.std).unflatten(2, size)
    grayed = gray_and_normalize(planes, params.gray, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)).unflatten(2, size)
    blurred = blur_and_solarize(grayed, params.sigma, params.solarize)
    never = torch.zeros_like(params.gray)
    return gray_and_normalize(blurred.flatten(2), never, view.mean, view.std).unflatten(2, size)


def blur_and_solarize(x: Tensor, sigma: Tensor, solarize: Tensor) -> Tensor:
    """Applies blur (where sigma > 0) and solarize in place to (B, 3, S, S) images."""
    blurred = sigma.nonzero().squeeze(1)
    if len(blurred):
        here = blurred.to(x.device, non_blocking=True)
        x.index_copy_(0, here, gaussian_blur(x.index_select(0, here), sigma[blurred]))
    inverted = solarize.nonzero().squeeze(1)
    if len(inverted):
        here = inverted.to(x.device, non_blocking=True)
        selected = x.index_select(0, here)
        x.index_copy_(0, here, torch.where(selected >= SOLARIZE_FROM, 1 - selected, selected))
    return x


def color_jitter(x: Tensor, apply: Tensor, order: Tensor, factor: Tensor) -> Tensor:
    """Applies brightness, contrast, saturation and hue in the order of each image.

    Brightness, contrast and saturation are blends `f * x + (1 - f) * target` with black, the image's mean grey and each pixel's
    grey: one 3x3 matrix and one offset per image, so that different operations share a batch. Hue is not linear and is applied
    to a subset of images per step.

    Args:
        x: (B, 3, P) float in [0, 1].
        apply: (B,) bool; other images are unchanged.
        order: (B, 4) permutations of the four operations.
        factor: (B, 4), see `Params`.
    """
    factor = factor.gather(1, order)  # sorted by application order
    hue_turn = (order == HUE) & apply[:, None]
    maps, mean_weights = (weights.to(x.device, non_blocking=True) for weights in _blends(apply, order, factor))
    for position in range(len(JITTER)):
        # mean of the grey image = grey of the channel means
        offset = mean_weights[:, position, None] @ x.mean(dim=2, keepdim=True)
        x = torch.baddbmm(offset, maps[:, position], x).clamp_(0, 1)
        turn = hue_turn[:, position].nonzero().squeeze(1)
        if len(turn):
            here = turn.to(x.device, non_blocking=True)
            shifted = shift_hue(x.index_select(0, here), factor[turn, position].to(x.device, non_blocking=True))
            x.index_copy_(0, here, shifted)
    return x


def _blends(apply: Tensor, order: Tensor, factor: Tensor) -> tuple[Tensor, Tensor]:
    """Blend matrices per image and step; the identity for hue and for images without jitter.

    Args:
        apply: (B,) bool.
        order: (B, 4) operation per step.
        factor: (B, 4) factor per step.

    Returns:
        (B, 4, 3, 3) channel matrices, and (B, 4, 3) weights of the channel means, whose weighted sum is the offset.
    """
    luma = torch.tensor(LUMA)
    f = torch.where(apply[:, None] & (order != HUE), factor, 1.0)
    to_gray = torch.where(order == SATURATION, 1 - f, 0.0)
    to_mean = torch.where(order == CONTRAST, 1 - f, 0.0)
    maps = f[..., None, None] * torch.eye(3) + to_gray[..., None, None] * luma.expand(3, 3)
    return maps, to_mean[..., None] * luma


def shift_hue(x: Tensor, turns: Tensor) -> Tensor:
    """Shifts the hue of (B, 3, P) images in [0, 1] by `turns` (B,), fractions of the HSV circle; keeps saturation and value."""
    r, g, b = x.unbind(1)
    high = torch.maximum(torch.maximum(r, g), b)
    low = torch.minimum(torch.minimum(r, g), b)
    chroma = high - low
    # hue in sixths of the circle, from the largest channel; irrelevant where chroma is 0. Masks are computed arithmetically:
    # comparisons and `where` take ten times as long on a CPU
    is_red = (r - high).sign_().add_(1)
    is_green = (g - high).sign_().add_(1).mul_(1 - is_red)
    from_red, from_green, from_blue = g - b, torch.add(b - r, chroma, alpha=2), torch.add(r - g, chroma, alpha=4)
    sector = from_blue + is_red * (from_red - from_blue) + is_green * (from_green - from_blue)
    sector.div_(chroma.clamp(min=1e-8))
    hue = sector.add_(6 * turns[:, None])
    hue.add_((hue * (1 / 6)).floor_(), alpha=-6)  # into [0, 6)
    # saturated colour of a hue: red |hue - 3| - 1, green 2 - |hue - 2|, blue 2 - |hue - 4|, each within [0, 1]
    centre, sign, offset = constant(x.device, ((3.0, 2.0, 4.0), (1.0, -1.0, -1.0), (-1.0, 2.0, 2.0)))[..., None]
    pure = torch.addcmul(offset, sign, (hue[:, None] - centre).abs_()).clamp_(0, 1)
    return torch.addcmul(low[:, None], chroma[:, None], pure)


def gray_and_normalize(x: Tensor, gray: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """Converts images to grey where `gray` is True, and normalises: one 3x3 matrix per image."""
    luma = torch.tensor(LUMA).expand(3, 3)
    channel_std = torch.tensor(std)[:, None]
    maps = torch.where(gray[:, None, None], luma, torch.eye(3)) / channel_std
    offset = -torch.tensor(mean)[:, None] / channel_std
    return torch.baddbmm(offset.to(x.device, non_blocking=True), maps.to(x.device, non_blocking=True), x)


def normalize(x: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """Normalises (B, 3, H, W) images in [0, 1] by channel statistics; returns channels-last memory format."""
    mean_, std_ = (constant(x.device, values)[:, None, None] for values in (mean, std))
    return ((x - mean_) / std_).contiguous(memory_format=torch.channels_last)


def to_float(levels: Tensor) -> Tensor:
    """Converts levels 0 to 255 to float32 in [0, 1], contiguous."""
    return levels.to(torch.float32, memory_format=torch.contiguous_format).div_(255)


@cache
def constant(device: torch.device, numbers: tuple) -> Tensor:
    """Returns a cached tensor of constants on a device, to avoid repeated transfers."""
    return torch.tensor(numbers).to(device, non_blocking=True)
