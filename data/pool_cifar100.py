"""The pool `cifar100`: CIFAR-100's 50,000 training images, whose classes are none of CIFAR-10's.

Read from torchvision's folder `cifar-100-python`, verified by the MD5 that torchvision knows, or from a folder
`cifar100-sheets` of five PNG sheets (one image a row of 1,024 px), whose order and origin nothing can verify: the sum in the
pool's `about` tells them apart. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.
"""

import hashlib
import pickle
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torchvision.datasets import CIFAR100

from core.errors import UserError, first_line
from core.files import writable_folder
from data.benchmark import SCRATCH, exclusive
from data.cifar10 import download, sheet_pixels
from data.pools import PoolSource, pixels_sha256, register

PYTHON = "cifar-100-python"  # torchvision's folder
SHEETS = "cifar100-sheets"
SHEET_NAMES = tuple(f"data_batch_{number}.png" for number in range(1, 6))
SHEET_IMAGES = 10_000
IMAGES = 50_000


@register("cifar100")
class Cifar100(PoolSource):
    """In memory: 154 MB."""

    what = "CIFAR-100's 50,000 training images, natural, no class of CIFAR-10's"
    count = 50_000
    licence = "no licence stated, for research, torchvision downloads it"

    def found(self, data_root: Path) -> Path | None:
        """torchvision's folder, else the folder of sheets."""
        return next((data_root / name for name in (PYTHON, SHEETS) if (data_root / name).is_dir()), None)

    def load(self, data_root: Path) -> tuple[NDArray[np.uint8], str]:
        """The images in their file's order and the SHA-256 of their pixels."""
        folder = self.found(data_root)
        if folder is None:
            writable_folder(data_root, "--data-root")
            with exclusive(data_root):
                folder = self.found(data_root) or _download(data_root)
        rows = _from_python_release(folder) if folder.name == PYTHON else _from_sheets(folder)
        images = rows.reshape(-1, 3, 32, 32)
        return images, pixels_sha256(images)


def _download(data_root: Path) -> Path:
    try:
        with tempfile.TemporaryDirectory(dir=data_root, prefix=SCRATCH) as scratch:
            download(CIFAR100, Path(scratch))
            return (Path(scratch) / PYTHON).rename(data_root / PYTHON)
    except Exception as error:  # whatever a network, a proxy or a full disk can raise
        raise UserError(
            f"the pool cifar100 is not in {data_root} and cannot be downloaded ({first_line(error)}); put torchvision's folder "
            f"{PYTHON} there, or choose another pool"
        ) from error


def _from_python_release(folder: Path) -> NDArray[np.uint8]:
    """The pickled training images (N, 3072); only bytes whose MD5 torchvision knows are unpickled."""
    ((name, md5),) = CIFAR100.train_list
    try:
        content = (folder / name).read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {folder / name} ({error.strerror}); restore it, or delete {folder}") from error
    if hashlib.md5(content).hexdigest() != md5:
        raise UserError(f"{folder / name} is truncated or not CIFAR-100's; delete {folder} to fetch it again, or restore it")
    return pickle.loads(content, encoding="bytes")[b"data"]


def _from_sheets(folder: Path) -> NDArray[np.uint8]:
    """The five sheets' images (N, 3072)."""
    rows = np.empty((IMAGES, 3072), dtype=np.uint8)
    for i, name in enumerate(SHEET_NAMES):
        try:
            rows[i * SHEET_IMAGES : (i + 1) * SHEET_IMAGES] = sheet_pixels(folder / name, SHEET_IMAGES)
        except Exception as error:  # missing, of another size, or damaged in a way that makes the decoder raise anything
            raise UserError(
                f"{folder / name} is not a whole sheet of 1024 x {SHEET_IMAGES} px ({first_line(error)}); restore it, or "
                f"delete {folder}"
            ) from error
    return rows
