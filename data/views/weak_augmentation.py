"""Weak augmentation for linear probes: random crop and horizontal flip, no colour operations.

In-memory images: zero padding by an eighth of the side (4 of 32 px), random crop to the original size, flip with probability
0.5 (VITA-Group/SDCLR, `train_cifar.py`). Image files: torchvision's `RandomResizedCrop`, flip with probability 0.5
(`train_imagenet.py`).
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

from data.image_files import ImageFiles
from data.views.backend import CPU, Backend, ImageSet
from data.views.spec import Evaluation, View
from data.views.upload import upload


def weakly_augmented(backend: Backend, images: ImageSet, evaluation: Evaluation, seed: int) -> Tensor:
    """Applies the weak augmentation and normalises: (B, 3, S, S) float32 on the backend's device.

    Args:
        backend: augmentation backend.
        images: B images.
        evaluation: evaluation transform; defines normalisation, and for image files the crop size and interpolation.
        seed: seed of this batch.

    Raises:
        Unreadable: files cannot be read.
    """
    if not isinstance(images, ImageFiles):
        return backend.evaluate(shifted(images, seed, backend.input_device), evaluation)
    view = View(
        crop_scale=(0.08, 1.0),
        interpolation=evaluation.interpolation,
        jitter_p=0.0,
        gray_p=0.0,
        mean=evaluation.mean,
        std=evaluation.std,
    )
    assert evaluation.crop is not None  # defined for all image files
    (augmented,) = backend.for_views(view)(images, seed, evaluation.crop)
    return augmented


def shifted(images: Tensor, seed: int, device: torch.device = CPU) -> Tensor:
    """Randomly crops zero-padded (B, 3, H, W) uint8 images and flips them with probability 0.5, on `device`."""
    count, _, height, width = images.shape
    border = height // 8
    stream = np.random.default_rng(seed)
    top, left = (_column(stream.integers(0, 2 * border + 1, count)) for _ in range(2))
    mirrored = _column(stream.random(count) < 0.5)
    rows = top + torch.arange(height)
    columns = left + torch.where(mirrored, torch.arange(width).flip(0), torch.arange(width))
    pick = (
        torch.arange(count)[:, None, None, None],
        torch.arange(3)[:, None, None],
        rows[:, None, :, None],
        columns[:, None, None],
    )
    images, pick = upload((images, pick), device)
    return pad(images, (border,) * 4)[pick]


def _column(values: NDArray) -> Tensor:
    return torch.from_numpy(values)[:, None]
