"""The weak augmentation that linear probes train with: a shifted crop and a mirror image, no change of colour.

Images in memory: padded with black by an eighth of their side (4 of 32 px), cut to their size at a random place, mirrored with
probability 0.5 (VITA-Group/SDCLR, `train_cifar.py`). Pictures in files: torchvision's `RandomResizedCrop`, mirrored with
probability 0.5 (`train_imagenet.py`).
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

from data.image_files import ImageFiles
from data.views.backend import Backend, ImageSet
from data.views.spec import Evaluation, View


def weak(backend: Backend, images: ImageSet, shown: Evaluation, seed: int) -> Tensor:
    """Weakly augmented images as a frozen network is shown them: (B, 3, S, S) float32, normalised, on the backend's device.

    Args:
        backend: makes them.
        images: B images.
        shown: how the benchmark shows images; of pictures in files, the side of the crop.
        seed: of this batch.

    Raises:
        Unreadable: pictures cannot be read.
    """
    if not isinstance(images, ImageFiles):
        return backend.evaluate(shifted(images, seed), shown)
    view = View(
        crop_scale=(0.08, 1.0), interpolation=shown.interpolation, jitter_p=0.0, gray_p=0.0, mean=shown.mean, std=shown.std
    )
    assert shown.crop is not None  # pictures have it
    (made,) = type(backend)([view], backend.device)(images, seed, shown.crop)
    return made


def shifted(images: Tensor, seed: int) -> Tensor:
    """(B, 3, H, W) uint8 images, each padded with black, cut out at a random place and mirrored with probability 0.5."""
    count, _, height, width = images.shape
    border = height // 8
    stream = np.random.default_rng(seed)
    top, left = (_column(stream.integers(0, 2 * border + 1, count)) for _ in range(2))
    mirrored = _column(stream.random(count) < 0.5)
    rows = top + torch.arange(height)
    columns = left + torch.where(mirrored, torch.arange(width).flip(0), torch.arange(width))
    padded = pad(images, (border,) * 4)
    pick = (
        torch.arange(count)[:, None, None, None],
        torch.arange(3)[:, None, None],
        rows[:, None, :, None],
        columns[:, None, None],
    )
    return padded[tuple(index.to(images.device, non_blocking=True) for index in pick)]


def _column(values: NDArray) -> Tensor:
    return torch.from_numpy(values)[:, None]
