"""The random numbers of a batch of views, drawn apart from the pixels.

Every executor that can be told its parameters uses these, so that two executors can be compared on the very same view, and
so that a seed means the same view whatever executes it. Distributions are torchvision's (`transforms.RandomResizedCrop`,
`ColorJitter`, `RandomGrayscale`, `RandomHorizontalFlip`), drawn for the whole batch at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from data.views import View

JITTER = ("brightness", "contrast", "saturation", "hue")  # positions in `Params.order`, as torchvision numbers them
CROP_TRIES = 10  # torchvision draws this many boxes before it falls back to the central crop


@dataclass(frozen=True)
class Params:
    """What one view does to each of `B` images. All tensors are on the CPU."""

    box: Tensor  # (B, 4) int64: top, left, height, width of the crop in pixels
    flip: Tensor  # (B,) bool
    jitter: Tensor  # (B,) bool: whether the four colour operations apply at all
    order: Tensor  # (B, 4) int64: order[b, k] is the k-th operation on image b, an index into JITTER
    factor: Tensor  # (B, 4) float32: brightness, contrast and saturation factors; hue shift in turns
    gray: Tensor  # (B,) bool

    @classmethod
    def join(cls, parts: Sequence["Params"]) -> "Params":
        """The parameters of several batches as those of one."""
        return cls(*(torch.cat([getattr(part, field.name) for part in parts]) for field in fields(cls)))


def draw(view: View, count: int, height: int, width: int, generator: torch.Generator) -> Params:
    """Draws the parameters of `view` for `count` images of `height` x `width` pixels from a CPU generator."""

    def coin(probability: float) -> Tensor:
        return torch.rand(count, generator=generator) < probability

    spread = torch.tensor([view.brightness, view.contrast, view.saturation, view.hue])
    centre = torch.tensor([1.0, 1.0, 1.0, 0.0])
    low = torch.maximum(centre - spread, torch.tensor([0.0, 0.0, 0.0, -0.5]))
    return Params(
        box=_crop_boxes(view, count, height, width, generator),
        flip=coin(view.flip_p),
        jitter=coin(view.jitter_p),
        order=torch.rand(count, len(JITTER), generator=generator).argsort(dim=1),
        factor=low + torch.rand(count, len(JITTER), generator=generator) * (centre + spread - low),
        gray=coin(view.gray_p),
    )


def _crop_boxes(view: View, count: int, height: int, width: int, generator: torch.Generator) -> Tensor:
    """Random resized crop boxes (count, 4): the first of ten draws that lies inside the image, else the central crop."""
    shape = (count, CROP_TRIES)
    low, high = view.crop_scale
    area = height * width * (low + (high - low) * torch.rand(shape, generator=generator))
    log_low, log_high = torch.tensor(view.crop_ratio).log()
    ratio = (log_low + (log_high - log_low) * torch.rand(shape, generator=generator)).exp()
    w = (area * ratio).sqrt().round().long()
    h = (area / ratio).sqrt().round().long()
    fits = (w > 0) & (w <= width) & (h > 0) & (h <= height)

    first = fits.int().argmax(dim=1, keepdim=True)
    w, h = w.gather(1, first).squeeze(1), h.gather(1, first).squeeze(1)
    # each corner is uniform over the positions at which the box stays inside
    corner = torch.rand(count, 2, generator=generator, dtype=torch.float64)
    top = (corner[:, 0] * (height - h + 1)).long()
    left = (corner[:, 1] * (width - w + 1)).long()

    found = fits.any(dim=1)
    c_top, c_left, c_h, c_w = _central_crop(view, height, width)
    return torch.stack(
        [
            torch.where(found, top, c_top),
            torch.where(found, left, c_left),
            torch.where(found, h, c_h),
            torch.where(found, w, c_w),
        ],
        dim=1,
    )


def _central_crop(view: View, height: int, width: int) -> tuple[int, int, int, int]:
    """The largest central crop whose aspect ratio is allowed: (top, left, height, width)."""
    ratio = width / height
    low, high = view.crop_ratio
    if ratio < low:
        w, h = width, min(round(width / low), height)
    elif ratio > high:
        w, h = min(round(height * high), width), height
    else:
        w, h = width, height
    return (height - h) // 2, (width - w) // 2, h, w
