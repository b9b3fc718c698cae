"""Batches of views for pretraining. No label enters here."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from core.errors import UserError
from core.seeds import seed_of
from data.image_files import ImageFiles, Unreadable
from data.prefetch import prefetch
from data.views.backend import Backend, ImageSet

log = logging.getLogger(__name__)

MIN_BATCH = 2  # images of a batch: batch norm and losses between images need another one


@dataclass(frozen=True)
class Batch:
    """What a method's loss is computed from."""

    views: tuple[Tensor, ...]  # one (B, 3, S, S) float tensor a declared view
    index: Tensor  # (B,) int64: positions of the images in the pretraining set, for per-sample memory; -1: from the pool
    epoch: int = 0  # from 0


class Loader:
    """Shuffled batches of views of images, in memory or in files.

    The order of an epoch and the views of a step are functions of (run seed, epoch, step) alone, so an epoch may be entered at
    any step and goes on as if it had been run from its start. The last, smaller batch is used; a last batch of a single
    image joins the one before it, as batch norm cannot be computed over one sample. A picture that cannot be read is left
    out of its batches, told of once and counted; which are left out does not depend on where an epoch is entered.
    """

    def __init__(self, images: ImageSet, backend: Backend, batch_size: int, seed: int):
        """`images` are N, a tensor where the backend wants it; `batch_size` at most N; `seed` the run's seed."""
        self.images = images
        self.backend = backend
        self.batch_size = batch_size
        self.seed = seed
        self.unreadable: set[str] = set()  # names of the files found so far

    def steps(self, extra: int = 0) -> int:
        """Steps of an epoch that trains on `extra` images beside the set."""
        return steps_per_epoch(len(self.images) + extra, self.batch_size)

    def epoch(
        self,
        epoch: int,
        size: int,
        start: int = 0,
        strength: Callable[[Tensor], Tensor | None] | None = None,
        extra: ImageSet | None = None,
    ) -> Iterator[Batch]:
        """Yields the batches of one epoch from step `start` on.

        Args:
            epoch: number of the epoch, from 0.
            size: side of the views in px.
            start: steps of this epoch that are already done.
            strength: maps indices of images (-1: one of `extra`) to their strengths, or to None; asked once an epoch.
            extra: K further images that this epoch mixes in, with index -1; files only beside files.

        Raises:
            UserError: fewer than two pictures can be read.
        """
        images = self.images if extra is None else _joined(self.images, extra)
        count = len(images)
        generator = torch.Generator().manual_seed(seed_of(self.seed, "order", epoch))
        order = torch.randperm(count, generator=generator)
        indices = order if extra is None else order.masked_fill(order >= len(self.images), -1)
        indices = indices.to(self.backend.device)
        strengths = strength(indices) if strength else None
        if strengths is not None:
            strengths = strengths.cpu()  # where views are drawn: one wait for the device an epoch, not one a step
        shuffled = images[order] if isinstance(images, ImageFiles) else None
        if isinstance(images, Tensor):
            order = order.to(images.device)
        steps = steps_per_epoch(count, self.batch_size)

        def batch(step: int) -> Batch:
            here = slice(step * self.batch_size, count if step == steps - 1 else (step + 1) * self.batch_size)
            seed = seed_of(self.seed, "views", epoch, 0, step)
            if isinstance(shuffled, ImageFiles):
                views, ranks = self._readable(shuffled, range(here.start, here.stop), seed, size, strengths)
                return Batch(views, indices[ranks.to(indices.device, non_blocking=True)], epoch)
            views = self.backend(images[order[here]], seed, size, None if strengths is None else strengths[here])
            return Batch(views, indices[here], epoch)

        batches = (batch(step) for step in range(start, steps))
        # where the device trains, the processor makes the next views meanwhile
        apart = self.backend.device.type == "cuda" and (isinstance(images, ImageFiles) or images.device.type == "cpu")
        return prefetch(batches, self.backend.device) if apart else batches

    def _readable(
        self, pictures: ImageFiles, ranks: Sequence[int], seed: int, size: int, strengths: Tensor | None
    ) -> tuple[tuple[Tensor, ...], Tensor]:
        """The views of those of `ranks`, places in an epoch's `pictures`, that can be read, and these ranks.

        Where fewer than two are left, the epoch's first readable ones fill up.
        """
        while True:
            kept = self._known_readable(pictures, ranks)
            if len(kept) < MIN_BATCH:
                others = (rank for rank in range(len(pictures)) if rank not in kept)
                kept += islice((rank for rank in others if self._known_readable(pictures, [rank])), MIN_BATCH - len(kept))
            if len(kept) < MIN_BATCH:
                first = next(iter(self.unreadable))
                raise UserError(
                    f"fewer than {MIN_BATCH} of {len(pictures)} pictures can be read; restore {first} and the others"
                )
            chosen = torch.tensor(kept)
            try:
                return self.backend(pictures[chosen], seed, size, None if strengths is None else strengths[chosen]), chosen
            except Unreadable as error:
                for reason in error.reasons.values():
                    log.warning("left out a picture that cannot be read: %s", reason)
                self.unreadable.update(pictures[chosen].names()[i] for i in error.reasons)

    def _known_readable(self, pictures: ImageFiles, ranks: Sequence[int]) -> list[int]:
        """Those of `ranks` that were not found to be unreadable."""
        if not self.unreadable:
            return list(ranks)
        names = pictures[torch.tensor(list(ranks))].names()
        return [rank for rank, name in zip(ranks, names, strict=True) if name not in self.unreadable]


def _joined(images: ImageSet, extra: ImageSet) -> ImageSet:
    if isinstance(images, ImageFiles):
        return images.concatenate(extra)
    if isinstance(extra, ImageFiles):
        raise ValueError("pictures in files cannot be mixed into images in memory: read them first")
    return torch.cat([images, extra.to(images.device)])


def steps_per_epoch(images: int, batch_size: int) -> int:
    """Steps that visit every image once, a single left-over image joining the step before."""
    full, rest = divmod(images, batch_size)
    return full + (rest > 1) if full else 1
