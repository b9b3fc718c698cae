"""Views of a whole batch at once, as plain tensor operations on the training device: the fast path for images in memory.

Crop, flip and resize are two batched matrix products (`data/views/resample.py`), colour works on one plane a channel
(`data/views/color.py`). Pictures in files are decoded, cropped and resized by Pillow, in threads, and coloured together.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from data.image_files import Encoded
from data.views.backend import Backend, Loaded, register
from data.views.color import to_float
from data.views.decoding import decode_and_crop
from data.views.params import Params
from data.views.postprocess import finish, in_one_batch
from data.views.resample import crop_resize


@register("torch")
class TorchViews(Backend):
    """Backend by batched torch operations on the device.

    The same arguments give the same views on any number of threads; on another kind of device they agree up to rounding, as
    the random numbers come from the CPU.
    """

    about = "batched tensor operations on the training device; pictures in files are decoded by Pillow in threads"

    def render(self, images: Loaded, drawn: Sequence[Params], size: int) -> tuple[Tensor, ...]:
        """Crops every view, then finishes it; equal views in one go where that is faster."""
        views, joined = self.views, in_one_batch(self.views, self.device, len(images), size)
        if isinstance(images, Encoded):
            crops = [to_float(x.to(self.device, non_blocking=True)) for x in decode_and_crop(images, views, drawn, size)]
            return finish([torch.cat(crops)] if joined else crops, views, drawn)
        pixels = to_float(images.to(self.device))
        if joined:
            pixels, steps = pixels.repeat(len(views), 1, 1, 1), [Params.concatenate(drawn)]
        else:
            steps = list(drawn)
        crops = [
            crop_resize(pixels, step.box, step.flip, size, view.interpolation)
            for view, step in zip(views[: len(steps)], steps, strict=True)
        ]
        return finish(crops, views, drawn)
