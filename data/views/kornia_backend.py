"""Views by kornia's operations on the training device, with the suite's random numbers given to each image.

Two things are not kornia's. Cropping: its crops have no antialiasing and blend with torch's cubic constant -0.75, so that on
the same boxes they differ from Pillow's by a mean of 4.1 grey levels from 32 px to 16, 1.9 to 24, 2.1 to 32, and 2.0 from
256x300 px to 224 (bicubic `RandomResizedCrop(cropping_mode="resample")`; 3.2, 1.2, 0.9 and 1.3 with "slice", which loops over
the images); `data/views/resample.py` differs by 0.3. RandAugment: kornia has no Pillow's equal of its
operations with a strength for each image.

What differs from torchvision's on 8-bit pictures is otherwise rounding: below 1.5 grey levels for every operation
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

BLUR_REACH = 3  # the Gaussian is cut off at this many times the largest sigma a view declares

# kornia is imported where it is used: that takes most of a second, and it need not be installed
Act = Callable[..., Tensor]  # changes (n, 3, S, S) images in [0, 1], by n values where it has any


@register("kornia")
class KorniaViews(Backend):
    """Backend by kornia's functions on whole batches.

    At each place of the drawn order each of the four colour operations takes the images whose turn it is.
    """

    about = "kornia's operations on the training device; pictures in files are decoded by Pillow in threads"

    @classmethod
    def missing_dependency(cls, device: torch.device = CPU) -> str | None:
        """Whether kornia is installed."""
        return None if importlib.util.find_spec("kornia") else "kornia is not installed (pip install kornia)"

    def render(self, images: Loaded, drawn: Sequence[Params], size: int) -> tuple[Tensor, ...]:
        """Crops and colours one view after the other."""
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
    """All of a view that comes after the crop, but RandAugment: (B, 3, S, S) in [0, 1] to normalised; changes `x`."""
    from kornia.color import rgb_to_grayscale
    from kornia.enhance import solarize
    from kornia.filters import gaussian_blur2d

    kernel = 2 * math.ceil(BLUR_REACH * view.blur_sigma[1]) + 1  # of all images, so that none depends on the others' sigma

    def blur(some: Tensor, sigma: Tensor) -> Tensor:
        return gaussian_blur2d(some, kernel, sigma[:, None].expand(-1, 2), border_type="replicate")

    for position in range(len(JITTER)):
        for kind, jitter in enumerate(_jitters()):
            _change(x, params.jitter & (params.order[:, position] == kind), jitter, params.factor[:, kind])
    _change(x, params.gray, lambda some: rgb_to_grayscale(some).expand_as(some))
    _change(x, params.sigma > 0, blur, params.sigma)
    _change(x, params.solarize, lambda some: solarize(some, SOLARIZE_FROM))
    return normalize(x, view.mean, view.std)


def _change(x: Tensor, chosen: Tensor, act: Act, values: Tensor | None = None) -> None:
    """Replaces those of (B, 3, S, S) images that are `chosen` (B,) by what `act` makes of them and of their `values` (B,)."""
    turn = chosen.nonzero().squeeze(1)
    if len(turn) == 1:  # alone, an image's mean would be summed by several threads, in an order that depends on their number
        turn = turn.repeat(2)
    if len(turn):
        here = turn.to(x.device, non_blocking=True)
        own = () if values is None else (values[turn].to(x.device, non_blocking=True),)
        x.index_copy_(0, here, act(x.index_select(0, here), *own))


def _jitters() -> tuple[Act, ...]:
    """The four operations in the order of `params.JITTER`; of kornia's variants those with torchvision's definitions."""
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
