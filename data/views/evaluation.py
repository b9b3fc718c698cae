"""Batches of images under the evaluation transform, for feature extraction with frozen networks."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.seeds import seed_of
from data.image_files import ImageFiles, Unreadable
from data.views.backend import Backend, ImageSet
from data.views.spec import Evaluation
from data.views.upload import upload
from data.views.weak_augmentation import weakly_augmented

BATCH = 500  # images per batch


def evaluation_batches(
    backend: Backend,
    images: ImageSet | NDArray[np.uint8],
    evaluation: Evaluation,
    *,
    black: bool = False,
    augmented: int | None = None,
    weak: bool = True,
    which: slice = slice(None),
) -> Iterator[Tensor]:
    """Yields batches of transformed images in order: (B, 3, S, S) float32, normalised, on the backend's device.

    Args:
        backend: applies the transform.
        images: (N, 3, H, W) uint8, or image files.
        evaluation: the evaluation transform.
        black: whether an unreadable file is replaced by a black image.
        augmented: None for no augmentation, or the seed of a random one.
        weak: whether this is the weak augmentation of linear probes, or that of the backend's first view.
        which: batches to compute.

    Raises:
        Unreadable: files cannot be read and `black` is False.
    """
    for start in range(0, len(images), BATCH)[which]:
        part = images[start : start + BATCH]
        if isinstance(part, np.ndarray):
            part = torch.from_numpy(part.copy())  # torch does not accept read-only memory maps, which pools can be
        seed = None if augmented is None else seed_of(augmented, "batch", start)
        yield _transformed(backend, part, evaluation, black, seed, weak)


def training_view(backend: Backend, images: ImageSet, evaluation: Evaluation, seed: int) -> Tensor:
    """The backend's first view of B images, as large as under the evaluation transform; arguments as in `weakly_augmented`."""
    if isinstance(images, ImageFiles):
        assert evaluation.crop is not None  # defined for all image files
        return backend(images, seed, evaluation.crop)[0]
    return backend(upload(images, backend.input_device), seed, evaluation.crop or images.shape[2])[0]


def batch_sizes(count: int) -> list[int]:
    """Sizes of the batches that `evaluation_batches` yields for `count` images."""
    return [min(BATCH, count - start) for start in range(0, count, BATCH)]


def _transformed(
    backend: Backend, images: ImageSet, evaluation: Evaluation, black: bool, seed: int | None, weak: bool
) -> Tensor:
    while True:  # one pass can find files that cannot be read, the next one files that cannot be decoded
        try:
            if seed is None:
                return backend.evaluate(images, evaluation)
            return (weakly_augmented if weak else training_view)(backend, images, evaluation, seed)
        except Unreadable as error:
            if not (black and isinstance(images, ImageFiles)):
                raise
            images = images.with_black(list(error.reasons))
