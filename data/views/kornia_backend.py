"""Augmentation backend by kornia's functions on the training device, with per-image parameters.

Two operations are not kornia's. Cropping: kornia's crops have no antialiasing and use torch's cubic constant -0.75, so that
for the same boxes they differ from Pillow's by a mean of 4.1 grey levels from 32 px to 16, 1.9 to 24, 2.1 to 32, and 2.0 from
256x300 px to 224 (bicubic `RandomResizedCrop(cropping_mode="resample")`; 3.2, 1.2, 0.9 and 1.3 with "slice", which loops over
the images); `data/views/resample.py` differs by 0.3. RandAugment: kornia has no equivalent of
Pillow's operations with per-image strengths.

Other differences from torchvision on 8-bit images are due to rounding: below 1.5 grey levels for every operation
(`docs/views.md`).
"""

import importlib.util
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from data.image_files import Encoded
from data.views.backend import CPU, Backend, Loaded, register
from data.views.color import SOLARIZE_FROM, normalize, to_float
from data.views.decoding import decode_and_crop
from data.views.params import JITTER, Params
from data.views.postprocess import randaugment
from data.views.resample import crop_resize
from data.views.spec import View

BLUR_REACH = 3  # the Gaussian kernel is truncated at this multiple of the largest sigma of a view

# kornia is optional and slow to import (most of a second), so it is imported on use
Act = Callable[..., Tensor]  # maps (n, 3, S, S) images in [0, 1], with n values if it has a parameter


@register("kornia")
class KorniaViews(Backend):
    """Backend by kornia's functions on batches.

    At each step of the random order, each of the four colour operations is applied to its subset of images.
    """

    about = "kornia's operations on the training device; image files are decoded by Pillow in threads"

    @classmethod
    def missing_dependency(cls, device: torch.device = CPU) -> str | None:
        """Reports whether kornia is installed."""
        return None if importlib.util.find_spec("kornia") else "kornia is not installed (pip install kornia)"

    def render(self, images: Loaded, drawn: Sequence[Params], size: int) -> tuple[Tensor, ...]:
        """Renders one view after the other."""
        if isinstance(images, Encoded):
            crops = [to_float(x.to(self.device, non_blocking=True)) for x in decode_and_crop(images, self.views, drawn, size)]
        else:
            pixels = to_float(images.to(self.device))
            crops = [
                crop_resize(pixels, params.box, params.flip, size, view.interpolation)
                for view, params in zip(self.views, drawn, strict=True)
            ]
        made = [_color(x, view, params) for x, view, params in zip(crops, self.views, drawn, strict=True)]
        randaugment(made, self.views, drawn)
        return tuple(made)


def _color(x: Tensor, view: View, params: Params) -> Tensor:
    """Applies all operations after the crop except RandAugment: (B, 3, S, S) in [0, 1] to normalised; overwrites `x`."""
    from kornia.color import rgb_to_grayscale
    from kornia.enhance import solarize
    from kornia.filters import gaussian_blur2d

    kernel = (
        2 * math.ceil(BLUR_REACH * view.blur_sigma[1]) + 1
    )  # constant, so that an image does not depend on the sigma of others

    def blur(selected: Tensor, sigma: Tensor) -> Tensor:
        return gaussian_blur2d(selected, kernel, sigma[:, None].expand(-1, 2), border_type="replicate")

    for position in range(len(JITTER)):
        for kind, jitter in enumerate(_jitters()):
            _change(x, params.jitter & (params.order[:, position] == kind), jitter, params.factor[:, kind])
    _change(x, params.gray, lambda selected: rgb_to_grayscale(selected).expand_as(selected))
    _change(x, params.sigma > 0, blur, params.sigma)
    _change(x, params.solarize, lambda selected: solarize(selected, SOLARIZE_FROM))
    return normalize(x, view.mean, view.std)


def _change(x: Tensor, chosen: Tensor, act: Act, values: Tensor | None = None) -> None:
    """Applies `act`, with `values` (B,) if given, in place to the `chosen` (B,) of (B, 3, S, S) images."""
    turn = chosen.nonzero().squeeze(1)
    if (
        len(turn) == 1
    ):  # the mean of a single image is computed in parallel, with a result that depends on the number of threads
        turn = turn.repeat(2)
    if len(turn):
        here = turn.to(x.device, non_blocking=True)
        own = () if values is None else (values[turn].to(x.device, non_blocking=True),)
        x.index_copy_(0, here, act(x.index_select(0, here), *own))


def _jitters() -> tuple[Act, ...]:
    """The four operations in the order of `params.JITTER`, in kornia's variants that match torchvision."""
    from kornia.enhance import (
        adjust_brightness_accumulative,
        adjust_contrast_with_mean_subtraction,
        adjust_hue,
        adjust_saturation_with_gray_subtraction,
    )

    return (
        adjust_brightness_accumulative,
        adjust_contrast_with_mean_subtraction,
        adjust_saturation_with_gray_subtraction,
        lambda x, turns: adjust_hue(x, 2 * math.pi * turns),  # in radians
    )
