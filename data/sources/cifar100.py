"""CIFAR-100 images: read from one of three formats, or downloaded; for the benchmark and the OOD pool.

torchvision's folder `cifar-100-python` and the binary release are verified by the checksums in torchvision and Apache MXNet
(`gluon.data.vision.CIFAR100`). A folder of PNG files (one image per row of 1,024 px, labels as JSON) has the official training
labels in the official order, which is verified; the order of the images within a class cannot be verified and is a surrogate
order. Of its test labels the number in each class is verified.
Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.
"""

import hashlib
import pickle
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray
from torchvision.datasets import CIFAR100

from core.errors import UserError, first_line
from core.files import read_bytes, writable_folder
from core.schema import decode
from data.benchmark import Images, MissingData, Source
from data.lists.longtail import Indices
from data.sources.cifar10 import IMAGE_BYTES, download, pixels_from_png_rows
from data.sources.fetch import SCRATCH, exclusive

T = TypeVar("T")
Part = Literal["train", "test"]
PYTHON = "cifar-100-python"  # torchvision's folder: the python release
BINARY = "cifar-100-binary"  # the binary release: per image coarse label, fine label, 3,072 bytes of planar RGB
SHEETS = "cifar100-sheets"
BINARY_SHA1 = {"train": "e207cd2e05b73b1393c74c7f5e7bea451d63e08e", "test": "8fb6623e830365ff53cf14adec797474f5478006"}
SHEET_NAMES = {"train": tuple(f"data_batch_{number}.png" for number in range(1, 6)), "test": ("test_batch.png",)}
SHEET_IMAGES = 10_000
# of the fine training labels in the official order, one byte each
LABELS_SHA256 = "9f11b9f97aad759ba6df0a33e3218b01d8deaf4ed3a14aa1185d69b9ad7ebcb3"
CLASSES = 100
Label = Annotated[int, msgspec.Meta(ge=0, lt=CLASSES)]
OFFICIAL = Source(
    "CIFAR-100, official release",
    "md5 16019d7e3df5f24257cddd939b257f8d and f0ef6b0ae62326f3e7ffdfab6717acfc of train and test in the python release",
)


def load(data_root: Path, *, fetch: bool = True) -> Images:
    """Loads the 50,000 training and 10,000 test images, verified as far as the format allows; downloads missing data.

    Raises:
        MissingData: there is no copy, and `fetch` is False.
        UserError: a file under `data_root` is damaged, or the download fails.
    """
    folder = locate(data_root) if fetch else _existing_folder(data_root)
    test = pixels(folder, "test").reshape(-1, 3, 32, 32), _fine_labels(folder, "test")
    return Images(pixels(folder).reshape(-1, 3, 32, 32), _fine_labels(folder, "train"), *test, _source(folder))


def labels(data_root: Path) -> tuple[Indices, Source]:
    """Returns the verified training labels and the source without downloading. Raises MissingData if there is no copy."""
    folder = _existing_folder(data_root)
    return _fine_labels(folder, "train"), _source(folder)


def describe_copy(data_root: Path) -> str:
    """Describes the copy that `load` would use; checks existence only."""
    folder = found(data_root)
    if folder is None:
        return "missing: downloaded by torchvision"
    files = [*SHEET_NAMES["train"], *SHEET_NAMES["test"], "train_labels.json", "test_labels.json"]
    needed = {PYTHON: ["train", "test"], BINARY: ["train.bin", "test.bin"], SHEETS: files}[folder.name]
    missing = [name for name in needed if not (folder / name).is_file()]
    surrogate = ", surrogate order" if folder.name == SHEETS else ""
    return f"found in {folder}{surrogate}" + (f", but {', '.join(missing)} is missing" if missing else "")


def found(data_root: Path) -> Path | None:
    """Returns the first existing folder: torchvision's, the binary release, or PNG files; None if there is none."""
    return next((data_root / name for name in (PYTHON, BINARY, SHEETS) if (data_root / name).is_dir()), None)


def locate(data_root: Path) -> Path:
    """Returns the existing folder, or downloads it. Raises UserError if that fails."""
    folder = found(data_root)
    if folder is None:
        writable_folder(data_root, "--data-root")
        with exclusive(data_root):
            folder = found(data_root) or _download(data_root)
    return folder


def pixels(folder: Path, part: Part = "train") -> NDArray[np.uint8]:
    """Planar pixels (N, 3072) of one part in file order. Raises UserError if a file is damaged."""
    if folder.name == PYTHON:
        return _python_release(folder, part)[b"data"]
    if folder.name == BINARY:
        return _binary_release(folder, part)[:, 2:]
    form = f"a complete image of 1024 x {SHEET_IMAGES} px"
    rows = np.empty((len(SHEET_NAMES[part]) * SHEET_IMAGES, IMAGE_BYTES), dtype=np.uint8)
    for i, name in enumerate(SHEET_NAMES[part]):
        place = slice(i * SHEET_IMAGES, (i + 1) * SHEET_IMAGES)
        rows[place] = _read(folder / name, form, lambda file: pixels_from_png_rows(file, SHEET_IMAGES))
    return rows


def _existing_folder(data_root: Path) -> Path:
    folder = found(data_root)
    if folder is None:
        raise MissingData(
            f"CIFAR-100 is not in {data_root}; a run downloads it, or put the folder {PYTHON}, {BINARY} or {SHEETS} there"
        )
    return folder


def _fine_labels(folder: Path, part: Part) -> Indices:
    if folder.name == PYTHON:
        return np.array(_python_release(folder, part)[b"fine_labels"], dtype=np.int64)
    if folder.name == BINARY:
        return _binary_release(folder, part)[:, 1].astype(np.int64)
    file = folder / f"{part}_labels.json"
    count = len(SHEET_NAMES[part]) * SHEET_IMAGES
    fine = _read(file, "a list of labels", lambda file: np.array(decode(read_bytes(file), list[Label]), dtype=np.int64))
    if fine.shape != (count,):
        raise UserError(f"{file} is not a list of {count} labels from 0 to {CLASSES - 1}; restore it")
    if part == "train" and hashlib.sha256(fine.astype(np.uint8).tobytes()).hexdigest() != LABELS_SHA256:
        raise UserError(f"{file} does not contain the fine labels of CIFAR-100 in the official order; restore it")
    if part == "test" and np.ptp(np.bincount(fine, minlength=CLASSES)):
        raise UserError(f"{file} does not have {count // CLASSES} labels of each class; restore it")
    return fine


def _source(folder: Path) -> Source:
    """Identifies the copy in `folder`: the official release, or PNG files with their own checksum."""
    if folder.name != SHEETS:
        return OFFICIAL
    sheets = [folder / name for name in (*SHEET_NAMES["train"], *SHEET_NAMES["test"])]
    missing = [sheet.name for sheet in sheets if not sheet.is_file()]
    digest = hashlib.sha256()
    for sheet in sheets if not missing else ():
        digest.update(_read(sheet, "a PNG file", read_bytes))
    checksum = f"sha256 {digest.hexdigest()} of the concatenated sheets, the test's last"
    checksum = f"none: {', '.join(missing)} is missing" if missing else checksum
    return Source("CIFAR-100 from sheets, surrogate order", checksum, mark="surrogate-order")


def _download(data_root: Path) -> Path:
    try:
        with tempfile.TemporaryDirectory(dir=data_root, prefix=SCRATCH) as scratch:
            download(CIFAR100, Path(scratch))
            return (Path(scratch) / PYTHON).rename(data_root / PYTHON)
    except Exception as error:  # from network, proxy or file system
        raise UserError(
            f"CIFAR-100 is not in {data_root} and cannot be downloaded ({first_line(error)}); put torchvision's folder "
            f"{PYTHON} there, or set its location with --data-root"
        ) from error


def _python_release(folder: Path, part: Part) -> dict[bytes, Any]:
    """Reads the pickled content; the MD5 is verified before unpickling."""
    ((name, md5),) = CIFAR100.train_list if part == "train" else CIFAR100.test_list
    return pickle.loads(_verified(folder / name, "md5", md5), encoding="bytes")


def _binary_release(folder: Path, part: Part) -> NDArray[np.uint8]:
    """Reads rows (N, 3074): two labels and pixels."""
    content = _verified(folder / f"{part}.bin", "sha1", BINARY_SHA1[part])
    return np.frombuffer(content, dtype=np.uint8).reshape(-1, 2 + IMAGE_BYTES)


def _verified(file: Path, kind: str, known: str) -> bytes:
    content = _read(file, "a file of CIFAR-100", read_bytes)
    if hashlib.new(kind, content).hexdigest() != known:
        raise UserError(f"{file} is damaged or not part of CIFAR-100; delete {file.parent} to download it again, or restore it")
    return content


def _read(file: Path, what: str, read: Callable[[Path], T]) -> T:
    """Returns `read(file)`. Raises UserError if that raises any exception."""
    try:
        return read(file)
    except Exception as error:
        raise UserError(f"{file} is not {what} ({first_line(error)}); restore it, or delete {file.parent}") from error
