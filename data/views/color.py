"""Batched colour operations on flattened channels, without a loop over images.

Semantics are torchvision's for float images: results are clamped to [0, 1] after each operation; the order is per image.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from data.views.params import JITTER, Params
from data.views.resample import BlurPlan, gaussian_blur
from data.views.spec import View

LUMA = (0.299, 0.587, 0.114)  # ITU-R 601, as Pillow's "L" mode
BRIGHTNESS, CONTRAST, SATURATION, HUE = range(len(JITTER))
SOLARIZE_FROM = 127.5 / 255  # rounds to level 128, Pillow's threshold


@dataclass(frozen=True)
class Jitter:
    """Colour jitter of B images as one matrix and one offset per image and step, and a hue shift of some images per step.

    Brightness, contrast and saturation are blends `f * x + (1 - f) * target` with black, the image's mean grey and each pixel's
    grey, so that different operations share a batch. Hue is not linear.
    """

    maps: Tensor  # (B, 4, 3, 3) channel matrices; the identity for hue and for images without jitter
    mean_weights: Tensor  # (B, 4, 3) weights of the channel means, whose weighted sum is the offset
    hue: tuple[tuple[Tensor, Tensor], ...]  # per step, (n,) images and their shifts

    @classmethod
    def of(cls, apply: Tensor, order: Tensor, factor: Tensor) -> "Jitter":
        """Brightness, contrast, saturation and hue in the order of each image.

        Args:
            apply: (B,) bool; other images are unchanged.
            order: (B, 4) permutations of the four operations.
            factor: (B, 4), see `Params`.
        """
        factor = factor.gather(1, order)  # sorted by application order
        hue_turn = (order == HUE) & apply[:, None]
        luma = torch.tensor(LUMA)
        f = torch.where(apply[:, None] & (order != HUE), factor, 1.0)
        to_gray = torch.where(order == SATURATION, 1 - f, 0.0)
        to_mean = torch.where(order == CONTRAST, 1 - f, 0.0)
        maps = f[..., None, None] * torch.eye(3) + to_gray[..., None, None] * luma.expand(3, 3)
        turns = [hue_turn[:, position].nonzero().squeeze(1) for position in range(len(JITTER))]
        hue = tuple((turn, factor[turn, position]) for position, turn in enumerate(turns))
        return cls(maps, to_mean[..., None] * luma, hue)


@dataclass(frozen=True)
class ChannelMap:
    """Grey and normalisation of B images: x -> maps @ x + offset."""

    maps: Tensor  # (B, 3, 3)
    offset: Tensor  # (3, 1)

    @classmethod
    def of(cls, gray: Tensor, mean: Sequence[float] = (0.0,) * 3, std: Sequence[float] = (1.0,) * 3) -> "ChannelMap":
        """Converts images to grey where `gray` (B,) is True, and normalises."""
        channel_std = torch.tensor(std)[:, None]
        maps = torch.where(gray[:, None, None], torch.tensor(LUMA).expand(3, 3), torch.eye(3)) / channel_std
        return cls(maps, -torch.tensor(mean)[:, None] / channel_std)

    def __call__(self, x: Tensor) -> Tensor:
        """(B, 3, P) images."""
        return torch.baddbmm(self.offset, self.maps, x)


@dataclass(frozen=True)
class ColorPlan:
    """All operations after the crop except RandAugment, as tensors that the device uses; made on the CPU."""

    jitter: Jitter
    gray: ChannelMap  # with the normalisation, unless blur or solarize follow
    blur: BlurPlan | None
    solarize: Tensor  # (n,) int64: these images
    normalized: ChannelMap | None  # after blur and solarize

    @classmethod
    def of(cls, view: View, params: Params) -> "ColorPlan":
        jitter = Jitter.of(params.jitter, params.order, params.factor)
        blur, solarize = BlurPlan.of(params.sigma), params.solarize.nonzero().squeeze(1)
        if not (view.blur_p or view.solarize_p):
            return cls(jitter, ChannelMap.of(params.gray, view.mean, view.std), blur, solarize, None)
        normalized = ChannelMap.of(torch.zeros_like(params.gray), view.mean, view.std)
        return cls(jitter, ChannelMap.of(params.gray), blur, solarize, normalized)


def color(images: Tensor, plan: ColorPlan) -> Tensor:
    """Applies the operations to (B, 3, S, S) images in [0, 1], with a result that is normalised; may modify `images`."""
    size = images.shape[2:]
    x = plan.gray(color_jitter(images.flatten(2), plan.jitter)).unflatten(2, size)
    if plan.normalized is None:
        return x
    if plan.blur is not None:
        here = plan.blur.here
        x.index_copy_(0, here, gaussian_blur(x.index_select(0, here), plan.blur))
    if len(plan.solarize):
        selected = x.index_select(0, plan.solarize)
        x.index_copy_(0, plan.solarize, torch.where(selected >= SOLARIZE_FROM, 1 - selected, selected))
    return plan.normalized(x.flatten(2)).unflatten(2, size)


def color_jitter(x: Tensor, plan: Jitter) -> Tensor:
    """Applies the jitter to (B, 3, P) images in [0, 1]."""
    for position, (here, turns) in enumerate(plan.hue):
        # mean of the grey image = grey of the channel means
        offset = plan.mean_weights[:, position, None] @ x.mean(dim=2, keepdim=True)
        x = torch.baddbmm(offset, plan.maps[:, position], x).clamp_(0, 1)
        if len(here):
            x.index_copy_(0, here, shift_hue(x.index_select(0, here), turns))
    return x


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
