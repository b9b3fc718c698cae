"""Out-of-distribution (OOD) pools of unlabelled images: base class, registry and loading.

A named pool is a `PoolSource` in its own file in `data/pools/`; `folder:PATH` is a user-defined pool.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate

from core.errors import UserError, nearest
from core.files import expand_user
from core.registry import FOLDER, Registry
from data.image_files import ImageFiles
from data.pools import folder
from data.root import data_folder

ORDER = ("300k", "cifar100")  # by preference; other pools are a fallback
REGISTRY_POOL = "emoji"  # the pool that needs only a package registry
BATCH = 1024  # images resized or hashed at a time


@dataclass(frozen=True)
class Pool:
    """One loaded OOD pool."""

    name: str  # `300k`, or `folder:PATH`
    images: NDArray[np.uint8] | ImageFiles  # (M, 3, S, S), possibly a read-only memory map; or M files
    about: str  # one line for records: name, number of images, first 12 digits of the SHA-256 from `PoolSource.load`


class PoolSource(ABC):
    """Base class of named pools. Subclasses declare the class variables; `register` sets the name."""

    name: ClassVar[str]
    what: ClassVar[str]  # one clause: content
    licence: ClassVar[str]  # one clause: licence and source
    count: ClassVar[int]  # number of images

    @abstractmethod
    def found(self, data_root: Path) -> Path | None:
        """Returns the path of the images under `data_root`, or None; checks existence only."""

    @abstractmethod
    def load(self, data_root: Path) -> tuple[NDArray[np.uint8] | ImageFiles, str]:
        """Returns the verified images, (M, 3, 32, 32) or M files, and a hexadecimal SHA-256; downloads missing images.

        Raises:
            UserError: a file under `data_root` is damaged, or the download fails.
        """


POOLS: Registry[type[PoolSource]] = Registry("pool", package="data.pools")
register = POOLS.register  # class decorator; the argument is the name in options and records


def load_pool(name: str, image_size: int | None, data_root: Path) -> Pool:
    """Loads the pool `name` at `image_size` px, from `data_root` or else from the user's cache folder.

    A pool that is in neither of them is downloaded into `data_root`.

    Images of another size are resized with antialiasing in memory (M * 3 * S * S bytes); a pool that has the right size may be
    memory-mapped. The checksum in `about` is computed before resizing. With `image_size` None, images keep their size and image
    files are not read: 30,000 images of 224 px would take 4.5 GB.

    Raises:
        UserError: the pool is unknown or damaged, or cannot be downloaded.
    """
    if name.startswith(FOLDER):
        images, digest = _user_pool(_folder(name), image_size)
    else:
        source = _source(name)
        roots = (data_root, data_folder(None))
        images, digest = source.load(next((root for root in roots if source.found(root)), data_root))
    about = f"{name}, {len(images)} images, sha256 {digest[:12]}"
    return Pool(name, images if image_size is None else _resized(images, image_size), about)


def check_pool(name: str) -> None:
    """Raises UserError for an unknown pool name, with the nearest match, or for a missing folder."""
    if name.startswith(FOLDER):
        folder.check(_folder(name))
    else:
        _source(name)


def best_pool(
    data_root: Path, fallback: str = REGISTRY_POOL, without: Collection[str] = (), order: Sequence[str] = ORDER
) -> str:
    """Returns the first pool of `order` on disk, else `fallback`, which may need a download. Does not use the network.

    Args:
        data_root: data folder.
        fallback: name if no pool is on disk.
        without: excluded pools: a benchmark's `own_pools`.
        order: candidates by preference: a benchmark's `pools`.
    """
    return next((name for name in order if name not in without and POOLS[name]().found(data_root)), fallback)


def pools_text(data_root: Path) -> list[str]:
    """One line per pool, by preference: name, content, licence and source, path on disk."""
    names = [*ORDER, *(name for name in POOLS.names() if name not in ORDER)]
    lines = []
    for source in (POOLS[name]() for name in names):
        place = source.found(data_root)
        lines.append(f"{source.name}: {source.what}; {source.licence}; {f'found in {place}' if place else 'missing'}")
    return [*lines, f"{FOLDER}PATH: user-defined, {folder.FORM}"]


def pixels_sha256(images: NDArray[np.uint8]) -> str:
    """Hexadecimal SHA-256 of the pixels in (M, 3, S, S) order, computed in batches to support memory maps."""
    digest = hashlib.sha256()
    for start in range(0, len(images), BATCH):
        digest.update(np.ascontiguousarray(images[start : start + BATCH]).data)
    return digest.hexdigest()


def _source(name: str) -> PoolSource:
    if name not in POOLS:
        exists = expand_user(Path(name)).exists()
        like = f"; did you mean {FOLDER}{name}?" if exists else nearest(name, [*POOLS.names(), FOLDER + "PATH"])
        raise UserError(f"no pool is named {name!r}{like}")
    return POOLS[name]()


def _folder(name: str) -> Path:
    path = name.removeprefix(FOLDER)
    if not path:
        raise UserError(f"the pool {name!r} has no path; write {FOLDER}PATH, where PATH is {folder.FORM}")
    return expand_user(Path(path))


def _user_pool(path: Path, image_size: int | None) -> tuple[NDArray[np.uint8] | ImageFiles, str]:
    """Loads a user-defined pool and its SHA-256: of the pixels, or of names and sizes for image files."""
    if image_size is None and path.is_dir():
        files = folder.files(path)
        listed = "".join(f"{file.relative_to(path)} {file.stat().st_size}\n" for file in files)
        return ImageFiles(files), hashlib.sha256(listed.encode(errors="surrogateescape")).hexdigest()
    images = folder.read(path, image_size or 0)
    return images, pixels_sha256(images)


def _resized(images: NDArray[np.uint8] | ImageFiles, image_size: int) -> NDArray[np.uint8]:
    """Resizes to (M, 3, S, S) with S = `image_size`; returns the input if it has that size."""
    if isinstance(images, ImageFiles):
        return folder.decode([Path(name) for name in images.names()], image_size)
    if images.shape[-1] == image_size:
        return images
    sized = np.empty((len(images), 3, image_size, image_size), dtype=np.uint8)
    for start in range(0, len(images), BATCH):
        batch = torch.from_numpy(
            np.array(images[start : start + BATCH])
        ).float()  # a copy, as torch warns about read-only memory maps
        smooth = interpolate(batch, (image_size, image_size), mode="bilinear", antialias=True, align_corners=False)
        sized[start : start + BATCH] = smooth.round().clamp(0, 255).byte().numpy()
    return sized
