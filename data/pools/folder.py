"""User-defined OOD pools: a folder of JPEG, PNG and WebP files, or one array in a `.npy` file."""

import logging
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from core.arrays import map_array
from core.errors import UserError, is_out_of_memory
from core.words import counted, listed
from data.rgb import eight_bit

log = logging.getLogger(__name__)

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
NAMED = 5  # unreadable files listed in a warning
BATCH = 256  # images decoded at a time
FORM = "a folder of JPEG, PNG or WebP files, or a .npy file of uint8 images (M, S, S, 3)"


def check(path: Path) -> None:
    """Raises UserError unless `path` is a folder or a `.npy` file; does not read images."""
    if not path.is_dir() and not (path.is_file() and path.suffix == ".npy"):
        what = "is neither a folder nor a .npy file" if path.exists() else "does not exist"
        raise UserError(f"the pool {path} {what}; use {FORM}")


def read(path: Path, image_size: int) -> NDArray[np.uint8]:
    """Loads the pool at `path`: (M, 3, S, S) with S = `image_size` for a folder; a `.npy` file is mapped at its own size.

    Raises:
        UserError: the path does not exist, no image can be read, or the array has the wrong type or shape.
    """
    check(path)
    return read_array(path) if path.is_file() else decode(files(path), image_size)


def read_array(path: Path) -> NDArray[np.uint8]:
    """Memory-maps a `.npy` file of (M, S, S, 3) uint8 images read-only; returns a view (M, 3, S, S).

    Raises:
        UserError: the file is truncated, or has the wrong type or shape.
    """
    array = map_array(path, "restore it")
    if array.dtype != np.uint8 or array.ndim != 4 or len(array) == 0 or array.shape[3] != 3 or array.shape[1] != array.shape[2]:
        raise UserError(f"{path} contains {array.dtype} {array.shape}; a pool must be uint8 (M, S, S, 3) with M >= 1")
    return array.transpose(0, 3, 1, 2)


def files(folder: Path) -> list[Path]:
    """Lists the image files below `folder`, sorted by path. Raises UserError if there are none."""
    check(folder)
    found = sorted(file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
    if not found:
        raise UserError(f"the pool {folder} contains no JPEG, PNG or WebP file; use {FORM}")
    return found


def decode(files: list[Path], image_size: int) -> NDArray[np.uint8]:
    """Decodes the central squares of images, (M, 3, S, S) with S = `image_size`; skips unreadable files with a warning.

    Raises:
        UserError: no file can be read.
    """
    folder = Path(os.path.commonpath([file.parent for file in files]))
    log.info("decoding %s in %s", counted(len(files), "image"), folder)
    images = np.empty((len(files), 3, image_size, image_size), dtype=np.uint8)
    kept, unreadable = 0, []
    for file, image in zip(files, _decoded(files, image_size), strict=True):
        if image is None:
            unreadable.append(str(file.relative_to(folder)))
        else:
            images[kept] = image
            kept += 1
    if unreadable:
        names = listed(unreadable, NAMED)
        if not kept:
            raise UserError(f"no image in the pool {folder} can be read ({names})")
        log.warning(
            "skipped %d unreadable of %s in the pool %s: %s", len(unreadable), counted(len(files), "image"), folder, names
        )
    return images[:kept]


def _decoded(files: list[Path], image_size: int) -> Iterator[NDArray[np.uint8] | None]:
    """Yields each file's image in order, decoded in threads: Pillow decodes and resizes without the GIL."""
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for start in range(0, len(files), BATCH):
            yield from threads.map(partial(_square, image_size=image_size), files[start : start + BATCH])


def _square(file: Path, image_size: int) -> NDArray[np.uint8] | None:
    """Returns the central square as (3, S, S), or None if decoding fails."""
    try:
        with Image.open(file) as image:
            image.draft("RGB", (2 * image_size, 2 * image_size))  # cheap downsampling in the JPEG decoder
            upright = _rgb(ImageOps.exif_transpose(image))
        side = min(upright.size)
        left, top = (upright.width - side) / 2, (upright.height - side) / 2
        square = upright.resize((image_size, image_size), Image.Resampling.BICUBIC, (left, top, left + side, top + side))
    except Exception as error:  # decoders raise arbitrary exceptions for damaged files
        if is_out_of_memory(error):
            raise
        return None
    return np.asarray(square).transpose(2, 0, 1)


def _rgb(image: Image.Image) -> Image.Image:
    """Converts to RGB; transparent pixels become white."""
    image = eight_bit(image)
    if "A" not in image.getbands() and "transparency" not in image.info:
        return image.convert("RGB")
    visible = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", visible.size, "white"), visible).convert("RGB")
