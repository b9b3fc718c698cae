"""OOD pool `cifar100`: the 50,000 training images of CIFAR-100, whose classes are disjoint from those of CIFAR-10.

Reads the formats of `data/sources/cifar100.py`; the checksum in `Pool.about` distinguishes official and surrogate order.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data.pools.pool import PoolSource, pixels_sha256, register
from data.sources import cifar100


@register("cifar100")
class Cifar100(PoolSource):
    """Loaded into memory: 154 MB."""

    what = "CIFAR-100's 50,000 training images, natural, no class of CIFAR-10's"
    count = 50_000
    licence = "no licence stated, for research, torchvision downloads it"

    def found(self, data_root: Path) -> Path | None:
        """Returns the folder of the existing copy."""
        return cifar100.found(data_root)

    def load(self, data_root: Path) -> tuple[NDArray[np.uint8], str]:
        """Loads the images in file order, with the SHA-256 of their pixels."""
        images = cifar100.pixels(cifar100.locate(data_root)).reshape(-1, 3, 32, 32)
        return images, pixels_sha256(images)
