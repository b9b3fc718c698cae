"""Augmentation backend by batched torch operations on the training device, the fastest for in-memory images.

Crop, flip and resize are two batched matrix products (`data/views/resample.py`); colour operations work on flattened channels
(`data/views/color.py`). Image files are decoded, cropped and resized by Pillow in threads.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from data.image_files import Encoded
from data.views.backend import Backend, Loaded, register
from data.views.color import to_float
from data.views.decoding import decode_and_crop
from data.views.params import Params
from data.views.postprocess import FinishPlan, finish, in_one_batch
from data.views.resample import CropPlan, crop_resize
from data.views.upload import upload


@register("torch")
class TorchViews(Backend):
    """Backend by batched torch operations on the device.

    Results do not depend on the number of threads; they are equal up to rounding on different device types.
    """

    about = "batched tensor operations on the training device; image files are decoded by Pillow in threads"

    def render(self, images: Loaded, drawn: Sequence[Params], size: int) -> tuple[Tensor, ...]:
        """Renders all views; equal views as one batch if that is faster."""
        views, joined = self.views, in_one_batch(self.views, self.device, len(images), size)
        plan = FinishPlan.of(views, drawn, self.device, size)
        if isinstance(images, Encoded):
            levels, plan = upload((decode_and_crop(images, views, drawn, size), plan), self.device)
            crops = [to_float(x) for x in levels]
            return finish([torch.cat(crops)] if joined else crops, views, plan)
        height, width = images.shape[2:]
        boxes, flips = [params.box for params in drawn], [params.flip for params in drawn]
        if joined:
            boxes, flips = [torch.cat(boxes)], [torch.cat(flips)]
        cuts = [
            CropPlan.of(box, flip, height, width, view.side(size), view.interpolation)
            for view, box, flip in zip(views, boxes, flips, strict=False)
        ]
        images, cuts, plan = upload((images, cuts, plan), self.device)
        pixels = to_float(images)
        if joined:
            pixels = pixels.repeat(len(views), 1, 1, 1)
        return finish([crop_resize(pixels, cut) for cut in cuts], views, plan)
