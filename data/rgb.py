"""Conversion of images of any Pillow mode to 8-bit RGB."""

import numpy as np
from PIL import Image

WITHOUT_RANGE = {"I": "32-bit integers", "F": "floating point numbers"}  # modes whose values have no defined range
STRAIGHT = {"La": "LA", "RGBa": "RGBA"}  # by mode with premultiplied alpha


class NoRangeError(ValueError):
    """The mode of an image has no defined range."""


def check_mode(mode: str) -> None:
    """Raises NoRangeError for a Pillow mode that cannot be converted."""
    if mode in WITHOUT_RANGE:
        raise NoRangeError(
            f"mode {mode}, {WITHOUT_RANGE[mode]}, has no range; save the image with 8 bits, or as PNG or TIFF with 16"
        )


def to_rgb(image: Image.Image) -> Image.Image:
    """Converts to RGB; alpha is dropped. Raises NoRangeError like `eight_bit`."""
    return eight_bit(image).convert("RGB")


def eight_bit(image: Image.Image) -> Image.Image:
    """An image of the same content with at most 8 bits per channel, and alpha that is not premultiplied.

    16-bit grey is scaled by its range; Pillow's own conversion clips it at 255.

    Raises:
        NoRangeError: the mode has no defined range.
    """
    check_mode(image.mode)
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image).astype(np.float64) / 257).round().astype(np.uint8))
    return image.convert(STRAIGHT[image.mode]) if image.mode in STRAIGHT else image
