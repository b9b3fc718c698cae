"""CIFAR-100's images: found in one of three forms, or downloaded; for the benchmark and for the pool of the same images.

torchvision's folder `cifar-100-python` and the binary release are verified by the sums that torchvision and Apache MXNet
(`gluon.data.vision.CIFAR100`) know. A folder of PNG sheets (one image a row of 1,024 px, labels as JSON) has the official
labels in their order, which is verified; which of a class's images stands at which of its places nothing can verify: a
surrogate order.
Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.
"""

import hashlib
import json
import pickle
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from torchvision.datasets import CIFAR100

from core.errors import UserError, first_line
from core.files import writable_folder
from data.benchmark import Images, NotThere, Source
from data.lists.longtail import Indices
from data.sources.cifar10 import IMAGE_BYTES, download, sheet_pixels
from data.sources.fetch import SCRATCH, exclusive

T = TypeVar("T")
Part = Literal["train", "test"]
PYTHON = "cifar-100-python"  # torchvision's folder: the python release
BINARY = "cifar-100-binary"  # the binary release: coarse label, fine label, 3,072 bytes of planar RGB an image
SHEETS = "cifar100-sheets"
BINARY_SHA1 = {"train": "e207cd2e05b73b1393c74c7f5e7bea451d63e08e", "test": "8fb6623e830365ff53cf14adec797474f5478006"}
SHEET_NAMES = {"train": tuple(f"data_batch_{number}.png" for number in range(1, 6)), "test": ("test_batch.png",)}
SHEET_IMAGES = 10_000
# fine labels of the training images in the official order, one byte each
LABELS_SHA256 = "9f11b9f97aad759ba6df0a33e3218b01d8deaf4ed3a14aa1185d69b9ad7ebcb3"
CLASSES = 100
OFFICIAL = Source(
    "CIFAR-100, official release",
    "md5 16019d7e3df5f24257cddd939b257f8d and f0ef6b0ae62326f3e7ffdfab6717acfc of train and test in the python release",
)


def load(data_root: Path, *, fetch: bool = True) -> Images:
    """The 50,000 training and 10,000 test images, verified as far as their form allows; downloaded where missing.

    Raises:
        NotThere: there is no copy, and none is to be fetched.
        UserError: a file under `data_root` is damaged or foreign, or there is none and it cannot be downloaded.
    """
    folder = locate(data_root) if fetch else _there(data_root)
    test = pixels(folder, "test").reshape(-1, 3, 32, 32), _fine_labels(folder, "test")
    return Images(pixels(folder).reshape(-1, 3, 32, 32), _fine_labels(folder, "train"), *test, _source(folder))


def labels(data_root: Path) -> tuple[Indices, Source]:
    """The training labels, verified, and what they belong to. Raises NotThere where there is no copy; nothing is fetched."""
    folder = _there(data_root)
    return _fine_labels(folder, "train"), _source(folder)


def present(data_root: Path) -> str:
    """Which copy `load` would use, in a few words; files are looked for, not verified."""
    folder = found(data_root)
    if folder is None:
        return "not there yet: torchvision will download it"
    files = [*SHEET_NAMES["train"], *SHEET_NAMES["test"], "train_labels.json", "test_labels.json"]
    needed = {PYTHON: ["train", "test"], BINARY: ["train.bin", "test.bin"], SHEETS: files}[folder.name]
    missing = [name for name in needed if not (folder / name).is_file()]
    surrogate = ", surrogate order" if folder.name == SHEETS else ""
    return f"found in {folder}{surrogate}" + (f", but {', '.join(missing)} is missing" if missing else "")


def found(data_root: Path) -> Path | None:
    """The folder that would be read: torchvision's, else the binary release, else the sheets; None where there is none."""
    return next((data_root / name for name in (PYTHON, BINARY, SHEETS) if (data_root / name).is_dir()), None)


def locate(data_root: Path) -> Path:
    """`found`, after a download where there is none. Raises UserError where that fails."""
    folder = found(data_root)
    if folder is None:
        writable_folder(data_root, "--data-root")
        with exclusive(data_root):
            folder = found(data_root) or _download(data_root)
    return folder


def pixels(folder: Path, part: Part = "train") -> NDArray[np.uint8]:
    """Planar pixels (N, 3072) of one part in their file's order. Raises UserError where a file is damaged."""
    if folder.name == PYTHON:
        return _python_release(folder, part)[b"data"]
    if folder.name == BINARY:
        return _binary_release(folder, part)[:, 2:]
    form = f"a whole sheet of 1024 x {SHEET_IMAGES} px"
    rows = np.empty((len(SHEET_NAMES[part]) * SHEET_IMAGES, IMAGE_BYTES), dtype=np.uint8)
    for i, name in enumerate(SHEET_NAMES[part]):
        place = slice(i * SHEET_IMAGES, (i + 1) * SHEET_IMAGES)
        rows[place] = _read(folder / name, form, lambda file: sheet_pixels(file, SHEET_IMAGES))
    return rows


def _there(data_root: Path) -> Path:
    folder = found(data_root)
    if folder is None:
        raise NotThere(f"CIFAR-100 is not in {data_root}; a run downloads it, or put the folder {PYTHON} or {SHEETS} there")
    return folder


def _fine_labels(folder: Path, part: Part) -> Indices:
    if folder.name == PYTHON:
        return np.array(_python_release(folder, part)[b"fine_labels"], dtype=np.int64)
    if folder.name == BINARY:
        return _binary_release(folder, part)[:, 1].astype(np.int64)
    file = folder / f"{part}_labels.json"
    count = len(SHEET_NAMES[part]) * SHEET_IMAGES
    fine = _read(file, "a list of labels", lambda file: np.array(json.loads(file.read_bytes()), dtype=np.int64))
    if fine.shape != (count,) or set(fine.tolist()) - set(range(CLASSES)):
        raise UserError(f"{file} is not a list of {count} labels from 0 to {CLASSES - 1}; restore it")
    if part == "train" and hashlib.sha256(fine.astype(np.uint8).tobytes()).hexdigest() != LABELS_SHA256:
        raise UserError(f"{file} does not hold CIFAR-100's fine labels in the official order; restore it")
    return fine


def _source(folder: Path) -> Source:
    """What the copy in `folder` is: the official release, or sheets, which have only their own sum."""
    if folder.name != SHEETS:
        return OFFICIAL
    sheets = [folder / name for name in (*SHEET_NAMES["train"], *SHEET_NAMES["test"])]
    missing = [sheet.name for sheet in sheets if not sheet.is_file()]
    digest = hashlib.sha256()
    for sheet in sheets if not missing else ():
        digest.update(_read(sheet, "a sheet", Path.read_bytes))
    checksum = f"sha256 {digest.hexdigest()} of the sheets on end, the test's last"
    checksum = f"none: {', '.join(missing)} is missing" if missing else checksum
    return Source("CIFAR-100 from sheets, surrogate order", checksum, mark="surrogate-order")


def _download(data_root: Path) -> Path:
    try:
        with tempfile.TemporaryDirectory(dir=data_root, prefix=SCRATCH) as scratch:
            download(CIFAR100, Path(scratch))
            return (Path(scratch) / PYTHON).rename(data_root / PYTHON)
    except Exception as error:  # whatever a network, a proxy or a full disk can raise
        raise UserError(
            f"CIFAR-100 is not in {data_root} and cannot be downloaded ({first_line(error)}); put torchvision's folder "
            f"{PYTHON} there, or name its place with --data-root"
        ) from error


def _python_release(folder: Path, part: Part) -> dict[bytes, Any]:
    """The pickled content; only bytes whose MD5 torchvision knows are unpickled."""
    ((name, md5),) = CIFAR100.train_list if part == "train" else CIFAR100.test_list
    return pickle.loads(_verified(folder / name, "md5", md5), encoding="bytes")


def _binary_release(folder: Path, part: Part) -> NDArray[np.uint8]:
    """Rows of (N, 3074)."""
    content = _verified(folder / f"{part}.bin", "sha1", BINARY_SHA1[part])
    return np.frombuffer(content, dtype=np.uint8).reshape(-1, 2 + IMAGE_BYTES)


def _verified(file: Path, kind: str, known: str) -> bytes:
    content = _read(file, "a file of CIFAR-100", Path.read_bytes)
    if hashlib.new(kind, content).hexdigest() != known:
        raise UserError(f"{file} is truncated or not CIFAR-100's; delete {file.parent} to fetch it again, or restore it")
    return content


def _read(file: Path, what: str, read: Callable[[Path], T]) -> T:
    """What `read` makes of a file. Raises UserError where it is missing, or so damaged that `read` raises anything."""
    try:
        return read(file)
    except Exception as error:
        raise UserError(f"{file} is not {what} ({first_line(error)}); restore it, or delete {file.parent}") from error
