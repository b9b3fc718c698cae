"""A pool of the user's own pictures: a folder of JPEG, PNG and WebP files, or one array in a `.npy` file."""

import logging
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from core.errors import UserError, first_line

log = logging.getLogger(__name__)

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
NAMED = 5  # unreadable files that a warning names
AHEAD = 256  # pictures decoded at a time
FORM = "a folder of JPEG, PNG or WebP files, or a .npy file of uint8 images (M, S, S, 3)"


def check(path: Path) -> None:
    """Raises UserError where nothing of the right kind lies at `path`; looks at no picture."""
    if not path.is_dir() and not (path.is_file() and path.suffix == ".npy"):
        what = "is neither a folder nor a .npy file" if path.exists() else "does not exist"
        raise UserError(f"the pool {path} {what}; name {FORM}")


def read(path: Path, image_size: int) -> NDArray[np.uint8]:
    """The pool at `path`: (M, 3, S, S), S = `image_size` for pictures, the array's own size for a `.npy` file (mapped).

    Raises:
        UserError: nothing is there, no picture can be read, or the array has another form.
    """
    check(path)
    return read_array(path) if path.is_file() else decode(files(path), image_size)


def read_array(path: Path) -> NDArray[np.uint8]:
    """Maps the `.npy` file read-only; returns its (M, S, S, 3) uint8 images as (M, 3, S, S).

    Raises:
        UserError: the file is truncated or of another form.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path} is not a whole .npy file ({first_line(error)}); restore it") from error
    if array.dtype != np.uint8 or array.ndim != 4 or len(array) == 0 or array.shape[3] != 3 or array.shape[1] != array.shape[2]:
        raise UserError(f"{path} holds {array.dtype} {array.shape}; a pool is uint8 (M, S, S, 3) with M of at least 1")
    return array.transpose(0, 3, 1, 2)


def files(folder: Path) -> list[Path]:
    """The pictures below `folder`, by path. Raises UserError where nothing is there."""
    check(folder)
    found = sorted(file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
    if not found:
        raise UserError(f"the pool {folder} holds no JPEG, PNG or WebP file; name {FORM}")
    return found


def decode(files: list[Path], image_size: int) -> NDArray[np.uint8]:
    """The central squares of pictures, (M, 3, S, S) with S = `image_size`; those that cannot be read are told of and left out.

    Raises:
        UserError: none can be read.
    """
    folder = Path(os.path.commonpath([file.parent for file in files]))
    log.info("decoding %d pictures in %s", len(files), folder)
    images = np.empty((len(files), 3, image_size, image_size), dtype=np.uint8)
    kept, unreadable = 0, []
    for file, image in zip(files, _decoded(files, image_size), strict=True):
        if image is None:
            unreadable.append(str(file.relative_to(folder)))
        else:
            images[kept] = image
            kept += 1
    if unreadable:
        names = ", ".join(unreadable[:NAMED]) + (f" and {len(unreadable) - NAMED} more" if len(unreadable) > NAMED else "")
        if not kept:
            raise UserError(f"no picture in the pool {folder} can be read ({names})")
        log.warning("left out %d unreadable of %d pictures in the pool %s: %s", len(unreadable), len(files), folder, names)
    return images[:kept]


def _decoded(files: list[Path], image_size: int) -> Iterator[NDArray[np.uint8] | None]:
    """Each file's image, in order; in threads, since Pillow decodes and resizes without the interpreter's lock."""
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for start in range(0, len(files), AHEAD):
            yield from threads.map(partial(_square, image_size=image_size), files[start : start + AHEAD])


def _square(file: Path, image_size: int) -> NDArray[np.uint8] | None:
    """The picture's central square as (3, S, S), or None where it cannot be decoded."""
    try:
        with Image.open(file) as picture:
            picture.draft("RGB", (2 * image_size, 2 * image_size))  # a JPEG's decoder halves a large picture for little
            upright = _rgb(ImageOps.exif_transpose(picture))
        side = min(upright.size)
        left, top = (upright.width - side) / 2, (upright.height - side) / 2
        square = upright.resize((image_size, image_size), Image.Resampling.BICUBIC, (left, top, left + side, top + side))
    except Exception:  # a damaged file can make a decoder raise anything
        return None
    return np.asarray(square).transpose(2, 0, 1)


def _rgb(picture: Image.Image) -> Image.Image:
    """The picture in RGB; what is transparent shows white."""
    if picture.mode.startswith("I;16"):  # Pillow would cut 16 bits of grey off at 255
        picture = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    if "A" not in picture.getbands() and "transparency" not in picture.info:
        return picture.convert("RGB")
    visible = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", visible.size, "white"), visible).convert("RGB")
