"""Colour operations, normalisation and RandAugment of crops as batched tensor operations, shared by several backends."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from data.views.color import ColorPlan, color, constant
from data.views.params import Params
from data.views.randaugment import Step, augment, steps
from data.views.spec import View

# equal views are rendered as one batch if call overhead dominates: on a GPU, or up to this many pixels per view. Measured on
# a CPU: 0.7 of the time for 128 views of 16 px, equal at 24 px, 1.1 at 32 px, where the cache overflows
JOINED_PIXELS = 128 * 24 * 24
CACHED_PIXELS = 128 * 32 * 32  # per chunk of colour operations on a CPU


def in_one_batch(views: Sequence[View], device: torch.device, count: int, size: int) -> bool:
    """Whether to render the views of `count` images on `device` as one batch, in a run with views of `size` px."""
    return len(set(views)) == 1 and (device.type == "cuda" or count * views[0].side(size) ** 2 <= JOINED_PIXELS)


@dataclass(frozen=True)
class FinishPlan:
    """Colour operations, normalisation and RandAugment of the views of B images, as tensors that the device uses."""

    color: tuple[tuple[ColorPlan, ...], ...]  # one for each chunk of each tensor of crops
    randaugment: tuple["ViewsPlan", ...]

    @classmethod
    def of(cls, views: Sequence[View], drawn: Sequence[Params], device: torch.device, size: int) -> "FinishPlan":
        """Plans `drawn` parameters, on the CPU, for a view size of `size` px, in one batch or not as `in_one_batch` has it."""
        joined = in_one_batch(views, device, len(drawn[0].flip), size)
        parts = [Params.concatenate(drawn)] if joined else drawn
        color = tuple(_chunks(view, params, device, size) for view, params in zip(views, parts, strict=False))
        return cls(color, randaugment_plans(views, drawn, size))


def finish(crops: Sequence[Tensor], views: Sequence[View], plan: FinishPlan) -> tuple[Tensor, ...]:
    """Applies colour operations, normalisation and RandAugment to crops.

    Args:
        crops: (B, 3, S, S) float in [0, 1] per view, or one concatenated (V*B, 3, S, S) of equal views; may be overwritten.
        views: V view specs.
        plan: for these crops, on their device.

    Returns:
        One (B, 3, S, S) tensor per view, normalised.
    """
    made = tuple(_color(x, chunks) for x, chunks in zip(crops, plan.color, strict=True))
    if len(made) < len(views):
        made = made[0].split(len(made[0]) // len(views))
    randaugment(made, views, plan.randaugment)
    return made


def _chunks(view: View, params: Params, device: torch.device, size: int) -> tuple[ColorPlan, ...]:
    """Plans of the colour operations, on a CPU of chunks of images that fit its cache."""
    count, some = len(params.flip), max(1, CACHED_PIXELS // view.side(size) ** 2)
    if device.type == "cuda" or count <= some:
        return (ColorPlan.of(view, params),)
    return tuple(ColorPlan.of(view, params[i : i + some]) for i in range(0, count, some))


def _color(x: Tensor, chunks: Sequence[ColorPlan]) -> Tensor:
    if len(chunks) == 1:
        return color(x, chunks[0])
    parts = x.split([len(plan.gray.maps) for plan in chunks])
    return torch.cat([color(part, plan) for part, plan in zip(parts, chunks, strict=True)])


@dataclass(frozen=True)
class ViewsPlan:
    """RandAugment of views of one side, with equally many operations each; they are one batch, as call overhead dominates."""

    views: tuple[int, ...]  # positions of these views
    here: tuple[Tensor, ...]  # images of each view that are changed
    steps: tuple[Step, ...]  # operations on these images, one view after the other


def randaugment_plans(views: Sequence[View], drawn: Sequence[Params], size: int) -> tuple[ViewsPlan, ...]:
    """Plans of RandAugment with `drawn` parameters, on the CPU, for a view size of `size` px.

    Views without operations are omitted.
    """
    kinds = [(params.operation.shape[1], view.side(size)) for view, params in zip(views, drawn, strict=True)]
    plans = []
    for operations, side in dict.fromkeys(kinds):
        if not operations:
            continue
        of = tuple(k for k, kind in enumerate(kinds) if kind == (operations, side))
        here = tuple(drawn[k].applied.any(dim=1).nonzero().squeeze(1) for k in of)
        if not any(map(len, here)):
            continue
        operation, applied, value, centre = (
            torch.cat([getattr(drawn[k], field)[images] for k, images in zip(of, here, strict=True)])
            for field in ("operation", "applied", "value", "centre")
        )
        plans.append(ViewsPlan(of, here, steps(operation, applied, value, centre, side)))
    return tuple(plans)


def randaugment(made: Sequence[Tensor], views: Sequence[View], plans: Sequence[ViewsPlan]) -> None:
    """Applies RandAugment in place to `made`, normalised views (B, 3, S, S).

    Affected images are denormalised and rounded to integer levels; other images stay bit-identical. Used by all backends except
    the reference: no library has Pillow's 15 operations with per-image strengths.
    """
    for plan in plans:
        chosen = [made[k] for k in plan.views]
        mean = 255 * constant(chosen[0].device, tuple(views[k].mean for k in plan.views))[..., None, None]
        std = 255 * constant(chosen[0].device, tuple(views[k].std for k in plan.views))[..., None, None]
        counts = [len(images) for images in plan.here]
        levels = chosen[0].new_empty(sum(counts), *chosen[0].shape[1:])
        parts = levels.split(counts)  # in place: large temporaries are slow to allocate on a CPU
        for x, i, part, m, s in zip(chosen, plan.here, parts, mean, std, strict=True):
            torch.index_select(x, 0, i, out=part).mul_(s).add_(m)
        augment(levels.round_(), plan.steps)
        for x, i, part, m, s in zip(chosen, plan.here, parts, mean, std, strict=True):
            x.index_copy_(0, i, part.sub_(m).div_(s))
