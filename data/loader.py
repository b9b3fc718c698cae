"""Data loader for pretraining: shuffled batches of augmented views, without labels."""

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
from data.views.params import Part
from data.views.upload import upload
from parallel import processes

log = logging.getLogger(__name__)

MIN_BATCH = 2  # images: batch norm and contrastive losses need at least two


@dataclass(frozen=True)
class Batch:
    """One batch of views, the input of a method's loss."""

    views: tuple[Tensor, ...]  # one (B, 3, S, S) float tensor per view; of several processes, only the rows of this one
    index: Tensor  # (B,) int64: indices of the whole batch into the pretraining set, for per-image memory; -1: OOD image
    epoch: int = 0  # from 0


class Loader:
    """Yields shuffled batches of views of in-memory images or image files.

    Image order and views depend on (run seed, epoch, step) only, so an epoch can be resumed at any step with identical results.
    The last, smaller batch is kept; a single remaining image is added to the batch before it, as batch norm needs two samples.
    Unreadable files are skipped with one warning each and counted; which files are skipped does not depend on the start step.
    Of several processes each renders its own rows of every batch; together they are the batch of a single process.
    """

    def __init__(self, images: ImageSet, backend: Backend, batch_size: int, seed: int):
        """`images` are N, a tensor on the backend's input device; `batch_size` is at most N; `seed` is the run's seed."""
        self.images = images
        self.backend = backend
        self.batch_size = batch_size
        self.seed = seed
        self.unreadable: set[str] = set()  # paths of unreadable files found so far

    def steps(self, extra: int = 0) -> int:
        """Steps of an epoch with `extra` additional images."""
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
            epoch: epoch number, from 0.
            size: side of the views in px.
            start: number of completed steps of this epoch.
            strength: maps image indices (-1: one of `extra`) to RandAugment strengths, or to None; called once per epoch.
            extra: K additional images of this epoch, with index -1; image files require a pretraining set of image files.

        Raises:
            UserError: fewer than two images can be read.
        """
        images = self.images if extra is None else _concatenate(self.images, extra)
        count = len(images)
        generator = torch.Generator().manual_seed(seed_of(self.seed, "order", epoch))
        order = torch.randperm(count, generator=generator)
        indices = order if extra is None else order.masked_fill(order >= len(self.images), -1)
        indices = indices.to(self.backend.device)
        strengths = strength(indices) if strength else None
        if strengths is not None:
            strengths = strengths.cpu()  # parameters are drawn on the CPU: synchronise once per epoch instead of once per step
        shuffled = images[order] if isinstance(images, ImageFiles) else None
        if isinstance(images, Tensor):
            order = order.to(images.device)
        steps = steps_per_epoch(count, self.batch_size)

        def batch(step: int) -> Batch:
            here = slice(step * self.batch_size, count if step == steps - 1 else (step + 1) * self.batch_size)
            seed = seed_of(self.seed, "views", epoch, 0, step)
            if isinstance(shuffled, ImageFiles):
                asked = range(here.start, here.stop)
                views, ranks = self._readable(shuffled, asked, seed, size, strengths)
                of_batch = here if ranks == list(asked) else upload(torch.tensor(ranks), indices.device)
                return Batch(views, indices[of_batch], epoch)
            part = Part(processes.own_rows(here.stop - here.start), here.stop - here.start)
            own = slice(here.start + part.rows.start, here.start + part.rows.stop)
            views = self.backend(images[order[own]], seed, size, None if strengths is None else strengths[own], part)
            return Batch(views, indices[here], epoch)

        batches = (batch(step) for step in range(start, steps))
        # CPU work for the next views overlaps with training on the GPU
        overlap = self.backend.device.type == "cuda" and (isinstance(images, ImageFiles) or images.device.type == "cpu")
        if not overlap:
            return batches
        if isinstance(images, ImageFiles):  # all processes exchange the unreadable files of each batch
            return prefetch(batches, self.backend.device, ends=lambda closed: any(processes.from_all(closed)))
        return prefetch(batches, self.backend.device)

    def _readable(
        self, files: ImageFiles, ranks: Sequence[int], seed: int, size: int, strengths: Tensor | None
    ) -> tuple[tuple[Tensor, ...], list[int]]:
        """Returns this process's rows of the views of the readable files at `ranks`, and these ranks of the epoch's order.

        If fewer than two are readable, the first readable files of the epoch are added.
        """
        while True:
            kept = self._known_readable(files, ranks)
            if len(kept) < MIN_BATCH:
                others = (rank for rank in range(len(files)) if rank not in kept)
                kept += islice((rank for rank in others if self._known_readable(files, [rank])), MIN_BATCH - len(kept))
            if len(kept) < MIN_BATCH:
                first = next(iter(self.unreadable))
                raise UserError(
                    f"fewer than {MIN_BATCH} of {len(files)} images can be read; restore or convert {first} and the others"
                )
            part = Part(processes.own_rows(len(kept)), len(kept))
            own = torch.tensor(kept)[part.rows]
            found: dict[str, str] = {}  # reason by name
            try:
                views = self.backend(files[own], seed, size, None if strengths is None else strengths[own], part)
            except Unreadable as error:
                found = {files[own].names()[i]: reason for i, reason in error.reasons.items()}
            found = dict(item for other in processes.from_all(found) for item in other.items())
            if not found:
                return views, kept
            for reason in found.values():
                log.warning("skipped an unreadable image: %s", reason)
            self.unreadable.update(found)

    def _known_readable(self, files: ImageFiles, ranks: Sequence[int]) -> list[int]:
        """Returns those of `ranks` whose files are not known to be unreadable."""
        if not self.unreadable:
            return list(ranks)
        names = files[torch.tensor(list(ranks))].names()
        return [rank for rank, name in zip(ranks, names, strict=True) if name not in self.unreadable]


def _concatenate(images: ImageSet, extra: ImageSet) -> ImageSet:
    if isinstance(images, ImageFiles):
        return images.concatenate(extra)
    if isinstance(extra, ImageFiles):
        raise ValueError("image files cannot be added to in-memory images; load them first")
    return torch.cat([images, extra.to(images.device)])


def steps_per_epoch(images: int, batch_size: int) -> int:
    """Steps per epoch; a single remaining image is added to the last full batch."""
    full, rest = divmod(images, batch_size)
    return full + (rest > 1) if full else 1
