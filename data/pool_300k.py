"""The pool `300k`: 300K Random Images, the pool of COLT's paper.

300,000 natural images of 32 px, without those of CIFAR's classes, that Hendrycks et al. took from 80 Million Tiny Images for
Outlier Exposure (ICLR 2019). The authors of the parent set withdrew it in 2020; no licence is stated.
"""

import hashlib
import logging
import tempfile
from pathlib import Path

import numpy as np
import pooch
import requests
from numpy.typing import NDArray

from core.errors import UserError, first_line
from data.benchmark import SCRATCH
from data.pool_folder import read_array
from data.pools import FOLDER, PoolSource, fetch_once, register

log = logging.getLogger(__name__)

FILE = "300K_random_images.npy"
URL = f"https://people.eecs.berkeley.edu/~hendrycks/{FILE}"
BYTES = 921_600_128
SHAPE = (300_000, 3, 32, 32)  # as handed out; (300000, 32, 32, 3) in the file
# kkirchheim/pytorch-ood, src/pytorch_ood/dataset/img/tinyimages.py at 2067ccaf; the publisher states none
MD5 = "64ca64357de98351f28454274a112dc3"
SILENCE_SECONDS = 30  # a server that says nothing for this long is given up
PIECE = 1 << 20  # bytes; pooch's own pieces of 1 KiB would be 900,000


@register("300k")
class RandomImages(PoolSource):
    """Memory-mapped: a run reads the images that it draws, after one pass over the file for its sums (seconds)."""

    what = "300,000 natural images of Hendrycks et al. (921.6 MB), the paper's pool"
    count = 300_000
    licence = "no licence stated, from 80 Million Tiny Images, which its authors withdrew"

    def found(self, data_root: Path) -> Path | None:
        """The file, whole or not."""
        file = data_root / FILE
        return file if file.is_file() else None

    def load(self, data_root: Path) -> tuple[NDArray[np.uint8], str]:
        """The map of the file and the file's own SHA-256."""
        file = data_root / FILE
        fetch_once(file, lambda: _download(file))
        if (size := file.stat().st_size) != BYTES:
            raise _foreign(file, f"has {size:,} bytes, not {BYTES:,}")
        images = read_array(file)
        if images.shape != SHAPE:
            raise _foreign(file, f"holds images {images.shape}, not {SHAPE}")
        md5, sha256 = _sums(file)
        if md5 != MD5:
            raise _foreign(file, f"has the MD5 {md5}, not {MD5}")
        return images, sha256


def _download(file: Path) -> None:
    """Fetches the file with a progress bar and renames it into place once its MD5 is right."""
    log.info("300k: downloading %s", URL)
    downloader = pooch.HTTPDownloader(progressbar=True, chunk_size=PIECE, timeout=SILENCE_SECONDS)
    try:
        with tempfile.TemporaryDirectory(dir=file.parent, prefix=SCRATCH) as scratch:
            fetched = pooch.retrieve(URL, f"md5:{MD5}", fname=FILE, path=scratch, downloader=downloader)
            Path(fetched).chmod(0o644)  # pooch's files are private; a data folder may be shared
            Path(fetched).rename(file)
    except Exception as error:  # whatever a network, a proxy or a full disk can raise
        why = "no connection" if isinstance(error, requests.ConnectionError) else first_line(error)
        raise UserError(
            f"the pool 300k is not at {file} and cannot be downloaded from {URL} ({why}); put the file there, or choose "
            "another pool"
        ) from error


def _sums(file: Path) -> tuple[str, str]:
    """MD5 and SHA-256 in one pass over the file."""
    md5, sha256 = hashlib.md5(), hashlib.sha256()
    with open(file, "rb") as stream:
        while piece := stream.read(PIECE):
            md5.update(piece)
            sha256.update(piece)
    return md5.hexdigest(), sha256.hexdigest()


def _foreign(file: Path, why: str) -> UserError:
    return UserError(f"{file} is not the 300K Random Images: it {why}; delete it to fetch it again, or name it {FOLDER}{file}")
