"""Pictures in files decoded by Pillow, once for all their views, and cropped and resized in the same thread."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from data.image_files import Encoded
from data.views.params import Params
from data.views.resample import center_start, resized_sides
from data.views.spec import Evaluation, View

FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def decode_and_crop(pictures: Encoded, views: Sequence[View], drawn: Sequence[Params], size: int) -> list[Tensor]:
    """Crops, resizes and mirrors every picture for every view: one (B, 3, size, size) uint8 tensor a view.

    Raises:
        Unreadable: some cannot be decoded.
    """
    boxes = [params.box.tolist() for params in drawn]
    flips = [params.flip.tolist() for params in drawn]

    def crops(position: int, picture: Image.Image) -> NDArray[np.uint8]:
        made = [
            np.asarray(crop(picture, box[position], flip[position], size, view.interpolation))
            for view, box, flip in zip(views, boxes, flips, strict=True)
        ]
        return np.stack(made)

    together = torch.from_numpy(np.stack(pictures.decode_each(crops)))  # (B, V, S, S, 3)
    return list(together.permute(1, 0, 4, 2, 3).contiguous())


def crop(picture: Image.Image, box: Sequence[int], flip: bool, size: int, interpolation: str) -> Image.Image:
    """The part of a picture in `box` (top, left, height, width) at `size` px, mirrored if `flip`."""
    top, left, height, width = box
    # cut out first: `resize` with a box lets the filter see beyond its edges
    part = picture.crop((left, top, left + width, top + height)).resize((size, size), FILTERS[interpolation])
    return part.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if flip else part


def decode_for_evaluation(pictures: Encoded, shown: Evaluation) -> Tensor:
    """Every picture resized and its centre cut out, (B, 3, crop, crop) uint8.

    Raises:
        Unreadable: some cannot be decoded.
        ValueError: no `resize` and `crop` were declared, so that pictures would have different sizes.
    """
    resize, side = declared_sizes(shown)

    def centre(_: int, picture: Image.Image) -> NDArray[np.uint8]:
        height, width = resized_sides(picture.height, picture.width, resize)
        resized = picture.resize((width, height), FILTERS[shown.interpolation])
        left, top = center_start(width, side), center_start(height, side)
        return np.asarray(resized.crop((left, top, left + side, top + side)))

    return torch.from_numpy(np.stack(pictures.decode_each(centre))).permute(0, 3, 1, 2).contiguous()


def declared_sizes(shown: Evaluation) -> tuple[int, int]:
    """`resize` and `crop`. Raises ValueError where one is not declared, so that pictures would have different sizes."""
    if shown.resize is None or shown.crop is None:
        raise ValueError("pictures in files have different sizes: declare what they are resized and cropped to")
    return shown.resize, shown.crop
