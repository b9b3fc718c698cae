"""OOD pool `300k`: 300K Random Images, used in the COLT paper.

300,000 natural images of 32 px without CIFAR classes, selected by Hendrycks et al. from 80 Million Tiny Images for Outlier
Exposure (ICLR 2019). 80 Million Tiny Images was withdrawn by its authors in 2020; no licence is stated.
"""

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.errors import UserError
from core.registry import FOLDER
from data.pools.folder import read_array
from data.pools.pool import PoolSource, register
from data.sources.fetch import PIECE, download, fetch_once

FILE = "300K_random_images.npy"
URL = f"https://people.eecs.berkeley.edu/~hendrycks/{FILE}"
BYTES = 921_600_128
SHAPE = (300_000, 3, 32, 32)  # as returned; (300000, 32, 32, 3) in the file
# kkirchheim/pytorch-ood, src/pytorch_ood/dataset/img/tinyimages.py at 2067ccaf; not published by the authors
MD5 = "64ca64357de98351f28454274a112dc3"


@register("300k")
class RandomImages(PoolSource):
    """Memory-mapped: a run reads the sampled images only, after one pass over the file for its checksums (seconds)."""

    what = "300,000 natural images of Hendrycks et al. (921.6 MB), the paper's pool"
    count = 300_000
    licence = "no licence stated, from 80 Million Tiny Images, which its authors withdrew"

    def found(self, data_root: Path) -> Path | None:
        """Returns the file, if it exists."""
        file = data_root / FILE
        return file if file.is_file() else None

    def load(self, data_root: Path) -> tuple[NDArray[np.uint8], str]:
        """Memory-maps the images; returns them with the SHA-256 of the file."""
        file = data_root / FILE
        otherwise = "put the file there, or choose another pool"
        fetch_once(file, lambda: download("the pool 300k", URL, file, f"md5:{MD5}", otherwise=otherwise))
        if (size := file.stat().st_size) != BYTES:
            raise _foreign(file, f"has {size:,} bytes, not {BYTES:,}")
        images = read_array(file)
        if images.shape != SHAPE:
            raise _foreign(file, f"contains images {images.shape}, not {SHAPE}")
        md5, sha256 = _checksums(file)
        if md5 != MD5:
            raise _foreign(file, f"has the MD5 {md5}, not {MD5}")
        return images, sha256


def _checksums(file: Path) -> tuple[str, str]:
    """MD5 and SHA-256 in one pass over the file."""
    md5, sha256 = hashlib.md5(), hashlib.sha256()
    with open(file, "rb") as stream:
        while piece := stream.read(PIECE):
            md5.update(piece)
            sha256.update(piece)
    return md5.hexdigest(), sha256.hexdigest()


def _foreign(file: Path, why: str) -> UserError:
    return UserError(f"{file} is not the 300K Random Images: it {why}; delete it to download it again, or use {FOLDER}{file}")
