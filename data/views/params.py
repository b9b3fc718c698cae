"""Sampling of augmentation parameters for a batch of views, separate from rendering.

All backends use these parameters, so that a seed gives the same view with every backend, and backends can be compared view by
view. Distributions are torchvision's (`transforms.RandomResizedCrop`,
`ColorJitter`, `RandomGrayscale`, `RandomHorizontalFlip`) and BCL's (`RandAugment`), sampled for the whole batch at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from data.views.randaugment import OPERATIONS, SIGNED, values
from data.views.spec import RandAugment, View


@dataclass(frozen=True)
class Part:
    """A part of a batch whose parameters are drawn for the whole batch, so that views do not depend on the division."""

    rows: slice
    total: int  # images of the whole batch


class _Uniforms:
    """Uniform random numbers of a part of a batch."""

    def __init__(self, part: Part, seed: int):
        self._part, self._generator = part, torch.Generator().manual_seed(seed)

    def __call__(self, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """(B, *shape) numbers in [0, 1), B the images of the part."""
        return torch.rand(self._part.total, *shape, generator=self._generator, dtype=dtype)[self._part.rows]


JITTER = ("brightness", "contrast", "saturation", "hue")  # indices in `Params.order`, as in torchvision
CROP_TRIES = 10  # torchvision draws this many boxes before the central crop


@dataclass(frozen=True)
class Params:
    """Augmentation parameters of one view for B images, with K RandAugment operations. All tensors are on the CPU."""

    box: Tensor  # (B, 4) int64: top, left, height, width of the crop in px
    flip: Tensor  # (B,) bool
    jitter: Tensor  # (B,) bool: whether colour jitter is applied
    order: Tensor  # (B, 4) int64: order[b, k] is the k-th operation on image b, an index into JITTER
    factor: Tensor  # (B, 4) float32: brightness, contrast and saturation factors; hue shift as a fraction of the circle
    gray: Tensor  # (B,) bool
    sigma: Tensor  # (B,) float32: of the blur in px; 0 is no blur
    solarize: Tensor  # (B,) bool
    operation: Tensor  # (B, K) int64: indices into randaugment.OPERATIONS
    applied: Tensor  # (B, K) bool: whether that operation is applied
    value: Tensor  # (B, K) float64: signed value in the units of randaugment.RANGES
    centre: Tensor  # (B, K, 2) float64: x and y of a cutout as fractions of the width

    def __getitem__(self, which: slice) -> "Params":
        """Returns the parameters of a slice of the batch."""
        return Params(*(getattr(self, field.name)[which] for field in fields(self)))

    @classmethod
    def concatenate(cls, parts: Sequence["Params"]) -> "Params":
        """Concatenates the parameters of several batches."""
        return cls(*(torch.cat([getattr(part, field.name) for part in parts]) for field in fields(cls)))


def draw(view: View, height: Tensor, width: Tensor, uniforms: _Uniforms) -> Params:
    """Draws all parameters of `view` except RandAugment, for images of (B,) `height` and `width` px."""
    count = len(height)

    def coin(probability: float) -> Tensor:
        return uniforms() < probability

    spread = torch.tensor([view.brightness, view.contrast, view.saturation, view.hue])
    centre = torch.tensor([1.0, 1.0, 1.0, 0.0])
    low = torch.maximum(centre - spread, torch.tensor([0.0, 0.0, 0.0, -0.5]))
    params = Params(
        box=_crop_boxes(view, height, width, uniforms),
        flip=coin(view.flip_p),
        jitter=coin(view.jitter_p),
        order=uniforms(len(JITTER)).argsort(dim=1),
        factor=low + uniforms(len(JITTER)) * (centre + spread - low),
        gray=coin(view.gray_p),
        sigma=torch.zeros(count),
        solarize=torch.zeros(count, dtype=torch.bool),
        operation=torch.empty(count, 0, dtype=torch.int64),
        applied=torch.empty(count, 0, dtype=torch.bool),
        value=torch.empty(count, 0, dtype=torch.float64),
        centre=torch.empty(count, 0, 2, dtype=torch.float64),
    )
    # drawn only if used, so that they do not change the random stream of other views
    if view.blur_p:
        low_sigma, high_sigma = view.blur_sigma
        sigma = low_sigma + (high_sigma - low_sigma) * uniforms()
        params = replace(params, sigma=torch.where(coin(view.blur_p), sigma, 0.0))
    if view.solarize_p:
        params = replace(params, solarize=coin(view.solarize_p))
    return params


def draw_batch(
    views: Sequence[View],
    height: Tensor,
    width: Tensor,
    seed: int,
    strength: Tensor | None = None,
    part: Part | None = None,
) -> list[Params]:
    """Draws the parameters of all views of a batch or of a part of it.

    RandAugment is drawn after all views, so that strengths do not affect other parameters.

    Args:
        views: view specs.
        height: (B,) int64, of the images of the part in px.
        width: (B,) int64.
        seed: seed of the batch.
        strength: (B,) RandAugment strengths in [0, 1]; None draws no operations (K = 0).
        part: these B images as a part of a larger batch; None: all of it.

    Raises:
        ValueError: strengths without a RandAugment view, of the wrong shape, or outside [0, 1].
    """
    count = len(height)
    uniforms = _Uniforms(part or Part(slice(0, count), count), seed)
    drawn = [draw(view, height, width, uniforms) for view in views]
    if strength is None:
        return drawn
    if not any(view.randaugment for view in views):
        raise ValueError("strengths were given, but no view has RandAugment")
    strength = strength.detach().cpu().double()
    if strength.shape != (count,) or not ((strength >= 0) & (strength <= 1)).all():
        raise ValueError(f"strengths must be {count} numbers in [0, 1], one per image")
    shared = uniforms(dtype=torch.float64)
    return [
        _add_operations(params, view.randaugment, strength, shared, uniforms) if view.randaugment else params
        for params, view in zip(drawn, views, strict=True)
    ]


def _add_operations(params: Params, spec: RandAugment, strength: Tensor, shared: Tensor, uniforms: _Uniforms) -> Params:
    """Adds RandAugment operations at `strength` (B,); `shared` (B,) is u per image, equal for all views."""
    coin, which, sign, x, y = uniforms(spec.operations, 5, dtype=torch.float64).unbind(2)
    operation = (which * len(OPERATIONS)).long()
    magnitude = spec.weakest + spec.span * (strength * shared if spec.jittered else strength)
    value = values(operation, magnitude[:, None])
    value = torch.where((operation < SIGNED) & (sign < 0.5), -value, value)
    applied = coin < strength[:, None]
    return replace(params, operation=operation, applied=applied, value=value, centre=torch.stack([x, y], dim=2))


def _crop_boxes(view: View, height: Tensor, width: Tensor, uniforms: _Uniforms) -> Tensor:
    """Draws random resized crop boxes (B, 4): the first of ten draws inside the image, else the central crop."""
    low, high = view.crop_scale
    area = (height * width)[:, None] * (low + (high - low) * uniforms(CROP_TRIES))
    log_low, log_high = torch.tensor(view.crop_ratio).log()
    ratio = (log_low + (log_high - log_low) * uniforms(CROP_TRIES)).exp()
    w = (area * ratio).sqrt().round().long()
    h = (area / ratio).sqrt().round().long()
    fits = (w > 0) & (w <= width[:, None]) & (h > 0) & (h <= height[:, None])

    first = fits.int().argmax(dim=1, keepdim=True)
    w, h = w.gather(1, first).squeeze(1), h.gather(1, first).squeeze(1)
    # corners are uniform over all positions inside the image
    corner = uniforms(2, dtype=torch.float64)
    top = (corner[:, 0] * (height - h + 1)).long()
    left = (corner[:, 1] * (width - w + 1)).long()
    drawn = torch.stack([top, left, h, w], dim=1)
    return torch.where(fits.any(dim=1, keepdim=True), drawn, _central_crops(view, height, width))


def _central_crops(view: View, height: Tensor, width: Tensor) -> Tensor:
    """Largest central crops with an allowed aspect ratio: (B, 4) top, left, height, width."""
    low, high = view.crop_ratio
    h = torch.minimum((width.double() / low).round().long(), height)
    w = torch.minimum((height.double() * high).round().long(), width)
    return torch.stack([(height - h) // 2, (width - w) // 2, h, w], dim=1)
