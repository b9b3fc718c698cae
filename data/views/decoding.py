"""Image decoding, cropping and resizing by Pillow in threads; each image is decoded once for all views."""

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


def decode_and_crop(encoded: Encoded, views: Sequence[View], drawn: Sequence[Params], size: int) -> list[Tensor]:
    """Decodes, crops, resizes and flips every image for every view: one (B, 3, S, S) uint8 tensor per view, S its side.

    Raises:
        Unreadable: files cannot be decoded.
    """
    boxes = [params.box.tolist() for params in drawn]
    flips = [params.flip.tolist() for params in drawn]

    def crops(position: int, image: Image.Image) -> list[NDArray[np.uint8]]:
        return [
            np.asarray(crop(image, box[position], flip[position], view.side(size), view.interpolation))
            for view, box, flip in zip(views, boxes, flips, strict=True)
        ]

    of_views = zip(*encoded.decode_each(crops), strict=True)
    return [torch.from_numpy(np.stack(made)).permute(0, 3, 1, 2).contiguous() for made in of_views]


def crop(image: Image.Image, box: Sequence[int], flip: bool, size: int, interpolation: str) -> Image.Image:
    """Crops an image to `box` (top, left, height, width), resizes it to `size` px and flips it horizontally if `flip`."""
    top, left, height, width = box
    # crop first: the filter of `resize` with a box reads pixels outside the box
    part = image.crop((left, top, left + width, top + height)).resize((size, size), FILTERS[interpolation])
    return part.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if flip else part


def decode_for_evaluation(encoded: Encoded, evaluation: Evaluation) -> Tensor:
    """Decodes and resizes every image and crops its centre: (B, 3, crop, crop) uint8.

    Raises:
        Unreadable: files cannot be decoded.
        ValueError: `resize` or `crop` is None.
    """
    resize, side = declared_sizes(evaluation)

    def centre(_: int, image: Image.Image) -> NDArray[np.uint8]:
        height, width = resized_sides(image.height, image.width, resize)
        resized = image.resize((width, height), FILTERS[evaluation.interpolation])
        left, top = center_start(width, side), center_start(height, side)
        return np.asarray(resized.crop((left, top, left + side, top + side)))

    return torch.from_numpy(np.stack(encoded.decode_each(centre))).permute(0, 3, 1, 2).contiguous()


def declared_sizes(evaluation: Evaluation) -> tuple[int, int]:
    """Returns `resize` and `crop`. Raises ValueError if one is None, as image files have different sizes."""
    if evaluation.resize is None or evaluation.crop is None:
        raise ValueError("image files have different sizes: the evaluation transform needs `resize` and `crop`")
    return evaluation.resize, evaluation.crop
