"""From crops to finished views, by batched tensor operations: colour, then RandAugment. Shared by several backends."""

from collections.abc import Sequence

import torch
from torch import Tensor

from data.views.color import color, constant
from data.views.params import Params
from data.views.randaugment import augment
from data.views.spec import View

# equal views are made in one go where calls cost more than pixels: on a GPU, or up to this many pixels a view; measured:
# 0.7 of the time for 128 views of 16 px, the same at 24 px, 1.1 at 32 px, where a processor's cache overflows
JOINED_PIXELS = 128 * 24 * 24
CACHED_PIXELS = 128 * 32 * 32  # of all images that a processor colours at a time


def in_one_batch(views: Sequence[View], device: torch.device, count: int, size: int) -> bool:
    """Whether the views of `count` images, of `size` px on `device`, are better made in one go."""
    return len(set(views)) == 1 and (device.type == "cuda" or count * size * size <= JOINED_PIXELS)


def finish(crops: Sequence[Tensor], views: Sequence[View], drawn: Sequence[Params]) -> tuple[Tensor, ...]:
    """Colours, normalises and augments crops.

    Args:
        crops: (B, 3, S, S) float in [0, 1], one a view, or a single (V*B, 3, S, S) of equal views on end; may be used up.
        views: V.
        drawn: of each view, for B images.

    Returns:
        One (B, 3, S, S) tensor a view, normalised.
    """
    if len(crops) < len(views):
        made = _color(crops[0], views[0], Params.concatenate(drawn)).split(len(crops[0]) // len(views))
    else:
        made = tuple(_color(x, view, params) for x, view, params in zip(crops, views, drawn, strict=True))
    randaugment(made, views, drawn)
    return made


def _color(x: Tensor, view: View, params: Params) -> Tensor:
    """`color`, on a processor for as many images at a time as its cache holds."""
    some = max(1, CACHED_PIXELS // x[0, 0].numel())
    if x.device.type == "cuda" or len(x) <= some:
        return color(x, view, params)
    return torch.cat([color(x[i : i + some], view, params[i : i + some]) for i in range(0, len(x), some)])


def randaugment(made: Sequence[Tensor], views: Sequence[View], drawn: Sequence[Params]) -> None:
    """Replaces the images that operations of RandAugment hit in `made`, finished views (B, 3, S, S).

    Shared by all backends but the reference: no library has Pillow's fifteen operations with a strength for each image.
    """
    for operations in {params.operation.shape[1] for params in drawn} - {0}:
        of = [k for k, params in enumerate(drawn) if params.operation.shape[1] == operations]
        _randaugment([made[k] for k in of], [views[k] for k in of], [drawn[k] for k in of])


def _randaugment(made: Sequence[Tensor], views: Sequence[View], drawn: Sequence[Params]) -> None:
    """Replaces the images that operations of RandAugment hit in `made`, finished views (B, 3, S, S) with equally many of them.

    The normalisation is undone and the result rounded to whole grey levels; other images keep every bit. All views go together,
    on a processor too: here calls cost more than pixels.
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
    parts = levels.split(counts)  # written in place: with many big temporaries a processor's time goes into memory pages
    for x, i, part, m, s in zip(made, here, parts, mean, std, strict=True):
        torch.index_select(x, 0, i, out=part).mul_(s).add_(m)
    chosen = torch.cat([hit + k * len(made[0]) for k, hit in enumerate(hits)])
    fields = ("operation", "applied", "value", "centre")
    augment(levels.round_(), *(torch.cat([getattr(params, field) for params in drawn])[chosen] for field in fields))
    for x, i, part, m, s in zip(made, here, parts, mean, std, strict=True):
        x.index_copy_(0, i, part.sub_(m).div_(s))
