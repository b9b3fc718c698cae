"""All images of a run as they are, for methods that look at every one of them between two epochs."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.seeds import seed_of
from data.pictures import Pictures, Unreadable
from data.views.executor import Executor, ImageSet
from data.views.spec import Evaluation
from data.views.weak_augmentation import weak

BATCH = 500  # images per forward pass


@dataclass(frozen=True)
class Corpus:
    """The images that a run is trained on, and those that it may draw on."""

    images: ImageSet  # N, the pretraining set
    executor: Executor  # of the run
    shown: Evaluation  # how the benchmark shows images to a frozen network
    pool: NDArray[np.uint8] | Pictures | None = None  # M images from elsewhere, for methods that ask for a pool
    bf16: bool = False  # whether networks run under bfloat16 autocast, as in training
    labels: Tensor | None = None  # (N,) only where a method's ablation asks for the truth (`Method.wants_labels`)

    def embed(
        self,
        network: Callable[[Tensor], Tensor],
        images: ImageSet | NDArray[np.uint8],
        *,
        black: bool = True,
        augmented: int | None = None,
    ) -> Iterator[Tensor]:
        """Yields `network`'s float32 rows for images, batch by batch: memory does not grow with their number.

        Args:
            network: (B, 3, H, W) normalised images to (B, d).
            images: M images.
            black: whether a picture that cannot be read is shown as a black one: training leaves it out, and its row keeps the
                others' places.
            augmented: None shows them as they are; a seed, weakly augmented as linear probes train.

        Raises:
            Unreadable: pictures cannot be read, where `black` is False.
        """
        for batch in show(self.executor, images, self.shown, black=black, augmented=augmented):
            with torch.autocast(batch.device.type, dtype=torch.bfloat16, enabled=self.bf16):
                rows = network(batch)
            yield rows.float()

    def take(self, selected: Tensor) -> ImageSet:
        """The pool's images at the positions `selected` (K,): (K, 3, H, W) uint8 where the executor wants them, or files."""
        if self.pool is None:
            raise ValueError("this run has no pool")
        taken = self.pool[selected.cpu().numpy()]
        return taken if isinstance(taken, Pictures) else torch.from_numpy(taken).to(self.executor.home)


def show(
    executor: Executor,
    images: ImageSet | NDArray[np.uint8],
    shown: Evaluation,
    *,
    black: bool = False,
    augmented: int | None = None,
) -> Iterator[Tensor]:
    """Batches of images as a frozen network is shown them: (B, 3, S, S) float32, normalised, on the executor's device.

    Args:
        executor: makes them.
        images: (N, 3, H, W) uint8, or pictures in files.
        shown: the benchmark's way.
        black: whether pictures that cannot be read are shown black.
        augmented: None, or the seed of a weak augmentation.

    Raises:
        Unreadable: pictures cannot be read, where `black` is False.
    """
    for start in range(0, len(images), BATCH):
        part = images[start : start + BATCH]
        if isinstance(part, np.ndarray):
            part = torch.from_numpy(part.copy())  # a copy: pools can be read-only maps of a file, which torch does not take
        seed = None if augmented is None else seed_of(augmented, "batch", start)
        yield _shown(executor, part, shown, black, seed)


def _shown(executor: Executor, images: ImageSet, shown: Evaluation, black: bool, seed: int | None) -> Tensor:
    while True:  # some files are found to be damaged when they are read, others when they are decoded
        try:
            return executor.evaluate(images, shown) if seed is None else weak(executor, images, shown, seed)
        except Unreadable as error:
            if not (black and isinstance(images, Pictures)):
                raise
            images = images.blacked(list(error.reasons))
