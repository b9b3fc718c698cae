"""Pools of unlabelled out-of-distribution images that a method may draw on, by name.

A named pool is a `PoolSource` in its own file `data/pools/`; `folder:PATH` is the user's own pictures.
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
from core.registry import Registry
from data.pictures import Pictures
from data.pools import folder

FOLDER = "folder:"  # how the name of the user's own pool begins
ORDER = ("300k", "cifar100")  # the best first; any other is taken where neither is on disk
REGISTRY_POOL = "emoji"  # the pool that a package registry alone can supply
BATCH = 1024  # images resized, or summed, at a time


@dataclass(frozen=True)
class Pool:
    """One pool, ready to be sampled from."""

    name: str  # as asked for: `300k`, or `folder:PATH`
    images: NDArray[np.uint8] | Pictures  # (M, 3, S, S), maybe a read-only memory map or a view of one; or M files
    about: str  # one line for records: name, number of images, first 12 digits of a SHA-256: of the pixels, or what `load` says


class PoolSource(ABC):
    """Where one named pool comes from. Subclasses declare the class variables; `register` sets the name."""

    name: ClassVar[str]
    what: ClassVar[str]  # one clause: what the images are
    licence: ClassVar[str]  # one clause: licence and source
    count: ClassVar[int]  # images

    @abstractmethod
    def found(self, data_root: Path) -> Path | None:
        """Where under `data_root` the images lie, or None; looked for, not verified."""

    @abstractmethod
    def load(self, data_root: Path) -> tuple[NDArray[np.uint8] | Pictures, str]:
        """The verified images, (M, 3, 32, 32) or M files, and a SHA-256 in hexadecimal; fetches them where they are missing.

        Raises:
            UserError: a file under `data_root` is damaged or foreign, or no source can be reached.
        """


POOLS: Registry[type[PoolSource]] = Registry("pool", package="data.pools")
register = POOLS.register  # decorator of a PoolSource; its argument is the name on the command line and in records


def load_pool(name: str, image_size: int | None, data_root: Path) -> Pool:
    """The pool `name` as images of `image_size` px; fetches it into `data_root` where it is missing.

    Images of another size are resized with antialiasing, in memory (M * 3 * S * S bytes); a pool of the right size on disk
    may stay there and be mapped. The sum in `about` is taken before that, so it does not depend on the resizing. With
    `image_size` None images stay as they are, pictures in their files: 30,000 of 224 px would take 4.5 GB.

    Raises:
        UserError: there is no such pool, it is damaged, or it cannot be fetched.
    """
    if name.startswith(FOLDER):
        images, digest = _own(_folder(name), image_size)
    else:
        images, digest = _source(name).load(data_root)
    about = f"{name}, {len(images)} images, sha256 {digest[:12]}"
    return Pool(name, images if image_size is None else _resized(images, image_size), about)


def check_pool(name: str) -> None:
    """Raises UserError, with the nearest name, where no pool is called `name`, or no folder is where it points."""
    if name.startswith(FOLDER):
        folder.check(_folder(name))
    else:
        _source(name)


def best_pool(
    data_root: Path, fallback: str = REGISTRY_POOL, without: Collection[str] = (), order: Sequence[str] = ORDER
) -> str:
    """Name of the best pool on disk, else `fallback`, which may have to be fetched. No network.

    Args:
        data_root: where to look.
        fallback: the name where there is none.
        without: pools that must not be chosen: a benchmark's `own_pools`.
        order: those that may be chosen, the best first: a benchmark's `pools`.
    """
    return next((name for name in order if name not in without and POOLS[name]().found(data_root)), fallback)


def pools_text(data_root: Path) -> list[str]:
    """One line a pool for listings, the best first: name, what it is, licence and source, whether it is on disk."""
    names = [*ORDER, *(name for name in POOLS.names() if name not in ORDER)]
    lines = []
    for source in (POOLS[name]() for name in names):
        place = source.found(data_root)
        lines.append(f"{source.name}: {source.what}; {source.licence}; {f'found in {place}' if place else 'not there yet'}")
    return [*lines, f"{FOLDER}PATH: your own, {folder.FORM}"]


def pixels_sha256(images: NDArray[np.uint8]) -> str:
    """SHA-256, in hexadecimal, of the pixels in (M, 3, S, S) order; a mapped pool is read piece by piece."""
    digest = hashlib.sha256()
    for start in range(0, len(images), BATCH):
        digest.update(np.ascontiguousarray(images[start : start + BATCH]).data)
    return digest.hexdigest()


def _source(name: str) -> PoolSource:
    if name not in POOLS:
        raise UserError(f"no pool is named {name!r}{nearest(name, [*POOLS.names(), FOLDER + 'PATH'])}")
    return POOLS[name]()


def _folder(name: str) -> Path:
    path = name.removeprefix(FOLDER)
    if not path:
        raise UserError(f"the pool {name!r} names no place; write {FOLDER}PATH, where PATH is {folder.FORM}")
    return Path(path).expanduser()


def _own(path: Path, image_size: int | None) -> tuple[NDArray[np.uint8] | Pictures, str]:
    """The user's own pool and its sum: of the pixels, or, of pictures that stay in files, of their names and sizes."""
    if image_size is None and path.is_dir():
        files = folder.files(path)
        listed = "".join(f"{file.relative_to(path)} {file.stat().st_size}\n" for file in files)
        return Pictures(files), hashlib.sha256(listed.encode(errors="surrogateescape")).hexdigest()
    images = folder.read(path, image_size or 0)
    return images, pixels_sha256(images)


def _resized(images: NDArray[np.uint8] | Pictures, image_size: int) -> NDArray[np.uint8]:
    """(M, 3, S, S) with S = `image_size`; the images themselves where they have that size."""
    if isinstance(images, Pictures):
        return folder.decode([Path(name) for name in images.names()], image_size)
    if images.shape[-1] == image_size:
        return images
    sized = np.empty((len(images), 3, image_size, image_size), dtype=np.uint8)
    for start in range(0, len(images), BATCH):
        batch = torch.from_numpy(np.array(images[start : start + BATCH])).float()  # a copy: torch warns of read-only maps
        smooth = interpolate(batch, (image_size, image_size), mode="bilinear", antialias=True, align_corners=False)
        sized[start : start + BATCH] = smooth.round().clamp(0, 255).byte().numpy()
    return sized
