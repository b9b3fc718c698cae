"""The pool `cifar100`: CIFAR-100's 50,000 training images, whose classes are none of CIFAR-10's.

Of the forms that `data/sources/cifar100.py` reads; the sum in the pool's `about` tells the official order from the sheets'.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data.pools.pool import PoolSource, pixels_sha256, register
from data.sources import cifar100


@register("cifar100")
class Cifar100(PoolSource):
    """In memory: 154 MB."""

    what = "CIFAR-100's 50,000 training images, natural, no class of CIFAR-10's"
    count = 50_000
    licence = "no licence stated, for research, torchvision downloads it"

    def found(self, data_root: Path) -> Path | None:
        """The folder of whichever form is there."""
        return cifar100.found(data_root)

    def load(self, data_root: Path) -> tuple[NDArray[np.uint8], str]:
        """The images in their file's order and the SHA-256 of their pixels."""
        images = cifar100.pixels(cifar100.locate(data_root)).reshape(-1, 3, 32, 32)
        return images, pixels_sha256(images)
