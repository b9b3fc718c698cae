"""Colour operations, normalisation and RandAugment of crops as batched tensor operations, shared by several backends."""

from collections.abc import Sequence

import torch
from torch import Tensor

from data.views.color import color, constant
from data.views.params import Params
from data.views.randaugment import augment
from data.views.spec import View

# equal views are rendered as one batch if call overhead dominates: on a GPU, or up to this many pixels per view. Measured on
# a CPU: 0.7 of the time for 128 views of 16 px, equal at 24 px, 1.1 at 32 px, where the cache overflows
JOINED_PIXELS = 128 * 24 * 24
CACHED_PIXELS = 128 * 32 * 32  # per chunk of colour operations on a CPU


def in_one_batch(views: Sequence[View], device: torch.device, count: int, size: int) -> bool:
    """Whether to render the views of `count` images of `size` px on `device` as one batch."""
    return len(set(views)) == 1 and (device.type == "cuda" or count * size * size <= JOINED_PIXELS)


def finish(crops: Sequence[Tensor], views: Sequence[View], drawn: Sequence[Params]) -> tuple[Tensor, ...]:
    """Applies colour operations, normalisation and RandAugment to crops.

    Args:
        crops: (B, 3, S, S) float in [0, 1] per view, or one concatenated (V*B, 3, S, S) of equal views; may be overwritten.
        views: V view specs.
        drawn: parameters of each view for B images.

    Returns:
        One (B, 3, S, S) tensor per view, normalised.
    """
    if len(crops) < len(views):
        made = _color(crops[0], views[0], Params.concatenate(drawn)).split(len(crops[0]) // len(views))
    else:
        made = tuple(_color(x, view, params) for x, view, params in zip(crops, views, drawn, strict=True))
    randaugment(made, views, drawn)
    return made


def _color(x: Tensor, view: View, params: Params) -> Tensor:
    """Applies `color`, on a CPU in chunks that fit its cache."""
    some = max(1, CACHED_PIXELS // x[0, 0].numel())
    if x.device.type == "cuda" or len(x) <= some:
        return color(x, view, params)
    return torch.cat([color(x[i : i + some], view, params[i : i + some]) for i in range(0, len(x), some)])


def randaugment(made: Sequence[Tensor], views: Sequence[View], drawn: Sequence[Params]) -> None:
    """Applies RandAugment in place to `made`, normalised views (B, 3, S, S).

    Used by all backends except the reference: no library has Pillow's 15 operations with per-image strengths.
    """
    for operations in {params.operation.shape[1] for params in drawn} - {0}:
        of = [k for k, params in enumerate(drawn) if params.operation.shape[1] == operations]
        _randaugment([made[k] for k in of], [views[k] for k in of], [drawn[k] for k in of])


def _randaugment(made: Sequence[Tensor], views: Sequence[View], drawn: Sequence[Params]) -> None:
    """Applies RandAugment in place to views with equally many operations each.

    Affected images are denormalised and rounded to integer levels; other images stay bit-identical. All views are processed as
    one batch, as call overhead dominates.
    """
    hits = [params.applied.any(dim=1).nonzero().squeeze(1) for params in drawn]
    counts = [len(hit) for hit in hits]
    if not any(counts):
        return
    device = made[0].device
    here = [hit.to(device, non_blocking=True) for hit in hits]
    mean = 255 * constant(device, tuple(view.mean for view in views))[..., None, None]
    std = 255 * constant(device, tuple(view.std for view in views))[..., None, None]
    levels = made[0].new_empty(sum(counts), *made[0].shape[1:])
    parts = levels.split(counts)  # in place: large temporaries are slow to allocate on a CPU
    for x, i, part, m, s in zip(made, here, parts, mean, std, strict=True):
        torch.index_select(x, 0, i, out=part).mul_(s).add_(m)
    chosen = torch.cat([hit + k * len(made[0]) for k, hit in enumerate(hits)])
    fields = ("operation", "applied", "value", "centre")
    augment(levels.round_(), *(torch.cat([getattr(params, field) for params in drawn])[chosen] for field in fields))
    for x, i, part, m, s in zip(made, here, parts, mean, std, strict=True):
        x.index_copy_(0, i, part.sub_(m).div_(s))
