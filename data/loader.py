"""Batches of views for pretraining. No label enters here."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from core.seeds import seed_of


@dataclass(frozen=True)
class Batch:
    """What a method's loss is computed from."""

    views: tuple[Tensor, ...]  # one (B, 3, S, S) float tensor a declared view
    index: Tensor  # (B,) int64: positions of the images in the pretraining set, for per-sample memory; -1: from the pool
    epoch: int = 0  # from 0


class Executor(Protocol):
    """Makes the declared views of a batch of images; see `data/torch_views.py`."""

    name: str

    def __call__(self, images: Tensor, seed: int, size: int, strength: Tensor | None = None) -> tuple[Tensor, ...]:
        """(B, 3, H, W) uint8 to one (B, 3, size, size) float tensor a view; `strength` is (B,) in [0, 1] or None."""
        ...


class Loader:
    """Shuffled batches of views of images held in memory, on whichever device the images are.

    The order of an epoch and the views of a step are functions of (run seed, epoch, step) alone, so an epoch may be entered at
    any step and goes on as if it had been run from its start. The last, smaller batch is used; a last batch of a single
    image joins the one before it, as batch norm cannot be computed over one sample.
    """

    def __init__(self, images: Tensor, executor: Executor, batch_size: int, seed: int):
        """`images` is (N, 3, H, W) uint8; `batch_size` at most N; `seed` the run's seed."""
        self.images = images
        self.executor = executor
        self.batch_size = batch_size
        self.seed = seed

    def steps(self, extra: int = 0) -> int:
        """Steps of an epoch that trains on `extra` images beside the set."""
        return steps_per_epoch(len(self.images) + extra, self.batch_size)

    def epoch(
        self,
        epoch: int,
        size: int,
        start: int = 0,
        strength: Callable[[Tensor], Tensor | None] | None = None,
        extra: Tensor | None = None,
    ) -> Iterator[Batch]:
        """Yields the batches of one epoch from step `start` on.

        Args:
            epoch: number of the epoch, from 0.
            size: side of the views in px.
            start: steps of this epoch that are already done.
            strength: maps indices of images (-1: one of `extra`) to their strengths, or to None; asked once an epoch.
            extra: (K, 3, H, W) uint8 further images that this epoch mixes in, with index -1.
        """
        images = self.images if extra is None else torch.cat([self.images, extra])
        count = len(images)
        generator = torch.Generator().manual_seed(seed_of(self.seed, "order", epoch))
        order = torch.randperm(count, generator=generator).to(images.device)
        indices = order if extra is None else order.masked_fill(order >= len(self.images), -1)
        strengths = strength(indices) if strength else None
        if strengths is not None:
            strengths = strengths.cpu()  # where views are drawn: one wait for the device an epoch, not one a step
        steps = steps_per_epoch(count, self.batch_size)
        for step in range(start, steps):
            stop = count if step == steps - 1 else (step + 1) * self.batch_size
            here = slice(step * self.batch_size, stop)
            seed = seed_of(self.seed, "views", epoch, 0, step)
            views = self.executor(images[order[here]], seed, size, None if strengths is None else strengths[here])
            yield Batch(views, indices[here], epoch)


def steps_per_epoch(images: int, batch_size: int) -> int:
    """Steps that visit every image once, a single left-over image joining the step before."""
    full, rest = divmod(images, batch_size)
    return full + (rest > 1) if full else 1
