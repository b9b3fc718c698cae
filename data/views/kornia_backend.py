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
from data.views.postprocess import randaugment, randaugment_plans
from data.views.resample import CropPlan, crop_resize
from data.views.spec import View
from data.views.upload import upload

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
        plans = ([_subsets(params) for params in drawn], randaugment_plans(self.views, drawn, size))
        if isinstance(images, Encoded):
            levels, plans = upload((decode_and_crop(images, self.views, drawn, size), plans), self.device)
            crops = [to_float(x) for x in levels]
        else:
            height, width = images.shape[2:]
            cuts = [
                CropPlan.of(params.box, params.flip, height, width, view.side(size), view.interpolation)
                for view, params in zip(self.views, drawn, strict=True)
            ]
            images, cuts, plans = upload((images, cuts, plans), self.device)
            pixels = to_float(images)
            crops = [crop_resize(pixels, cut) for cut in cuts]
        subsets, operations = plans
        made = [_color(x, view, of_view) for x, view, of_view in zip(crops, self.views, subsets, strict=True)]
        randaugment(made, self.views, operations)
        return tuple(made)


Subset = tuple[Tensor, Tensor | None]  # some images of a batch, and their values of an operation with a parameter


def _subsets(params: Params) -> list[Subset]:
    """The images of each operation after the crop, in order of application."""
    jitters = [
        (params.jitter & (params.order[:, position] == kind), params.factor[:, kind])
        for position in range(len(JITTER))
        for kind in range(len(JITTER))
    ]
    chosen = [*jitters, (params.gray, None), (params.sigma > 0, params.sigma), (params.solarize, None)]
    return [_subset(which, values) for which, values in chosen]


def _subset(chosen: Tensor, values: Tensor | None) -> Subset:
    turn = chosen.nonzero().squeeze(1)
    if len(turn) == 1:  # the mean of one image is computed in parallel, with a result that depends on the number of threads
        turn = turn.repeat(2)
    return turn, None if values is None else values[turn]


def _color(x: Tensor, view: View, subsets: Sequence[Subset]) -> Tensor:
    """Applies all operations after the crop except RandAugment: (B, 3, S, S) in [0, 1] to normalised; overwrites `x`."""
    from kornia.color import rgb_to_grayscale
    from kornia.enhance import solarize
    from kornia.filters import gaussian_blur2d

    # constant, so that an image does not depend on the sigma of others
    kernel = 2 * math.ceil(BLUR_REACH * view.blur_sigma[1]) + 1
    acts: list[Act] = [
        *_jitters() * len(JITTER),
        lambda selected: rgb_to_grayscale(selected).expand_as(selected),
        lambda selected, sigma: gaussian_blur2d(selected, kernel, sigma[:, None].expand(-1, 2), border_type="replicate"),
        lambda selected: solarize(selected, SOLARIZE_FROM),
    ]
    for act, (here, values) in zip(acts, subsets, strict=True):
        if len(here):
            x.index_copy_(0, here, act(x.index_select(0, here), *(() if values is None else (values,))))
    return normalize(x, view.mean, view.std)


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
