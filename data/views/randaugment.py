"""Batched RandAugment: fifteen operations, chosen per image.

Results are identical to Pillow's on 8-bit images (`Image.transform`, `ImageOps`, `ImageEnhance`, `ImageDraw`), as in
BCL's repository (MediaBrain-SJTU/BCL, `data/randaug.py`). There is no loop over images: a group of operations is applied to all
its images at once, five as one gather by coordinates, five as one gather by grey level, four as one blend.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F

MAX_MAGNITUDE = 30
RANGES = {  # values at magnitude 0 and MAX_MAGNITUDE, in the order of GROUPS
    "ShearX": (0.0, 0.6),  # pixels along x per pixel along y
    "ShearY": (0.0, 0.6),
    "TranslateX": (0.0, 0.66),  # fraction of the width
    "TranslateY": (0.0, 0.66),
    "Rotate": (0.0, 60.0),  # degrees
    "AutoContrast": (0.0, 1.0),  # value unused, also for the next two
    "Equalize": (0.0, 1.0),
    "Invert": (0.0, 1.0),
    "Solarize": (0.0, 110.0),  # threshold in grey levels
    "Posterize": (4.0, 8.0),  # bits, rounded down
    "Contrast": (0.1, 1.9),  # blend factor, also for the next three
    "Color": (0.1, 1.9),
    "Brightness": (0.1, 1.9),
    "Sharpness": (0.1, 1.9),
    "Cutout": (0.0, 0.4),  # side of the square as a fraction of the width
}
OPERATIONS = tuple(RANGES)
LOW, HIGH = torch.tensor(list(RANGES.values()), dtype=torch.float64).unbind(1)
SIGNED = 5  # the first five operations have a random sign
CUTOUT_FILL = (125.0, 123.0, 114.0)
FIXED_POINT = 16  # fractional bits of Pillow's source coordinates

Slices = dict[str, slice]  # slice of a group's images per operation


def values(operation: Tensor, magnitude: Tensor) -> Tensor:
    """Unsigned operation values at magnitudes in [0, 30], in the units of `RANGES`; float64, same shape as the inputs."""
    return magnitude / MAX_MAGNITUDE * (HIGH - LOW)[operation] + LOW[operation]


@dataclass(frozen=True)
class GroupStep:
    """One step of the images whose operation is of one group."""

    images: slice  # of the images of the step
    at: Slices
    values: tuple[Tensor, ...]  # of the group's function
    act: "Act"


@dataclass(frozen=True)
class Step:
    """The k-th operation of each image of a batch that has one, as tensors that the device uses."""

    here: Tensor  # (n,) int64: these images, sorted by operation
    groups: tuple[GroupStep, ...]


def steps(operation: Tensor, applied: Tensor, value: Tensor, centre: Tensor, size: int) -> tuple[Step, ...]:
    """The operations of each image in order.

    Args:
        operation: (B, K) int64, indices into OPERATIONS; on the CPU, as the following.
        applied: (B, K) bool: whether the operation is applied.
        value: (B, K) float64, signed, in the units of `RANGES`.
        centre: (B, K, 2) float64, the cutout's x and y in [0, 1).
        size: side of the images in px.
    """
    made = []
    for position in range(operation.shape[1]):
        kind = torch.where(applied[:, position], operation[:, position], len(OPERATIONS))
        ends = [0, *kind.bincount(minlength=len(OPERATIONS)).cumsum(0).tolist()]
        order = kind.argsort()[: ends[len(OPERATIONS)]]
        v, c = value[order, position], centre[order, position]
        groups = []
        for first, last, prepare, act in GROUPS:
            group = slice(ends[first], ends[last])
            if group.start < group.stop:
                at = {OPERATIONS[k]: slice(ends[k] - group.start, ends[k + 1] - group.start) for k in range(first, last)}
                groups.append(GroupStep(group, at, prepare(at, v[group], c[group], size), act))
        made.append(Step(order, tuple(groups)))
    return tuple(made)


def augment(levels: Tensor, plan: Sequence[Step]) -> Tensor:
    """Applies the steps in order to (B, 3, S, S) float32 images, integer levels in 0..255; overwrites and returns them."""
    for step in plan:
        x = levels.index_select(0, step.here)
        for group in step.groups:
            x[group.images] = group.act(x[group.images], group.at, *group.values)
        levels.index_copy_(0, step.here, x)
    return levels


def _affine_values(at: Slices, value: Tensor, centre: Tensor, size: int) -> tuple[Tensor, ...]:
    """(n, 2, 3) float64 coefficients of source coordinates."""
    n = len(value)
    angle = torch.zeros_like(value)
    angle[at["Rotate"]] = value[at["Rotate"]].deg2rad()
    cos, sin = angle.cos(), angle.sin()
    # source (x, y) = matrix @ (column, row) + start; start is the source of the centre of pixel (0, 0)
    matrix = torch.stack([cos, -sin, sin, cos], dim=1).view(n, 2, 2)
    start = size / 2 - (size - 1) / 2 * matrix.sum(dim=2)
    for axis, (shear, translate) in enumerate((("ShearX", "TranslateX"), ("ShearY", "TranslateY"))):
        matrix[at[shear], axis, 1 - axis] = value[at[shear]]
        start[at[shear], axis] = 0.5 + value[at[shear]] / 2
        # integer pixels: Pillow applies translations without the fixed-point arithmetic below
        start[at[translate], axis] = (size * value[at[translate]] + 0.5).floor() + 0.5
    # Pillow uses fixed-point source coordinates; this reproduces its rounding of ties
    scale = 2.0**FIXED_POINT
    return (torch.cat([matrix, start[..., None]], dim=2).mul_(scale).add_(0.5).floor_().div_(scale),)


def _affine(x: Tensor, at: Slices, coefficients: Tensor) -> Tensor:
    """Shears, translations and rotations with nearest-neighbour sampling; black outside the image."""
    n, C, size, _ = x.shape
    source = coefficients @ _pixels(size, x.device)  # (n, 2, S*S), exact
    # coordinates outside are clamped to a black one-pixel border
    column, row = source.floor_().clamp_(-1, size).unbind(1)
    index = torch.add(column, row, alpha=size + 2).add_(size + 3).long()
    return F.pad(x, (1, 1, 1, 1)).flatten(2).gather(2, index[:, None].expand(n, C, size * size)).view_as(x)


@cache
def _pixels(size: int, device: torch.device) -> Tensor:
    """(3, size * size) float64: column, row and 1 for each pixel."""
    line = torch.arange(size, dtype=torch.float64, device=device)
    row, column = torch.meshgrid(line, line, indexing="ij")
    return torch.stack([column.flatten(), row.flatten(), torch.ones_like(row).flatten()])


def _lookup_values(at: Slices, value: Tensor, centre: Tensor, size: int) -> tuple[Tensor, ...]:
    """Thresholds of Invert and Solarize, and units of Posterize in grey levels; (n, 1, 1) each."""
    threshold = value.float()
    threshold[at["Invert"]] = 0
    unit = 1 << (8 - value[at["Posterize"]].long())
    return threshold[at["Invert"].start : at["Solarize"].stop, None, None], unit[:, None, None]


def _lookup(x: Tensor, at: Slices, threshold: Tensor, unit: Tensor) -> Tensor:
    """AutoContrast, Equalize, Invert, Solarize, Posterize: one look-up table per channel."""
    levels = x.flatten(2).int().long()  # (direct conversion to int64 is twice as slow on a CPU)
    grey = torch.arange(256.0, device=x.device)
    table = torch.empty(*x.shape[:2], 256, device=x.device)
    table[at["AutoContrast"]] = _stretched(x[at["AutoContrast"]], grey)
    table[at["Equalize"]] = _equalized(levels[at["Equalize"]], grey)
    table[at["Invert"].start : at["Solarize"].stop] = torch.where(grey < threshold, grey, 255 - grey)
    table[at["Posterize"]] = grey.div(unit, rounding_mode="floor") * unit
    return table.gather(2, levels).view_as(x)


def _stretched(x: Tensor, grey: Tensor) -> Tensor:
    """(n, 3, 256) tables that stretch each channel to all levels; constant channels are unchanged."""
    # double precision as in Pillow, since the result is truncated to integers
    low, high = x.flatten(2).double().aminmax(dim=2, keepdim=True)
    # (`255 / tensor` multiplies by the reciprocal, which rounds twice)
    scale = torch.full_like(high, 255).div_((high - low).clamp_(min=1))
    return torch.where(high > low, (grey * scale).sub_(low * scale).floor_().clamp_(0, 255), grey)


def _equalized(levels: Tensor, grey: Tensor) -> Tensor:
    """(n, 3, 256) tables for histogram equalisation per channel, in Pillow's integer arithmetic."""
    histogram = levels.new_zeros(*levels.shape[:2], 256)
    histogram.scatter_add_(2, levels, torch.ones_like(levels))
    below = histogram.cumsum(dim=2) - histogram
    brightest = histogram.gather(2, levels.amax(dim=2, keepdim=True))
    step = (levels.shape[2] - brightest).div_(255, rounding_mode="floor")  # pixels per level
    shared = (below + step.div(2, rounding_mode="floor")).div_(step.clamp(min=1), rounding_mode="floor")
    return torch.where(step > 0, shared.clamp_(max=255).float(), grey)


def _enhance_values(at: Slices, value: Tensor, centre: Tensor, size: int) -> tuple[Tensor, ...]:
    """(n, 1, 1, 1) blend factors."""
    return (value.float()[:, None, None, None],)


def _enhance(x: Tensor, at: Slices, factor: Tensor) -> Tensor:
    """Contrast, Color, Brightness, Sharpness: blend of the image with mean grey, grey, black or a smoothed image."""
    base = torch.empty_like(x)
    gray = _luma(x[: at["Color"].stop])
    mean = gray[at["Contrast"]].mean(dim=(1, 2, 3), keepdim=True, dtype=torch.float64)
    base[at["Contrast"]] = mean.add_(0.5).floor_().float()
    base[at["Color"]] = gray[at["Color"]]
    base[at["Brightness"]] = 0
    base[at["Sharpness"]] = x[at["Sharpness"]]  # Pillow does not smooth border pixels
    base[at["Sharpness"], :, 1:-1, 1:-1] = _smooth(x[at["Sharpness"]])
    # two roundings as in Pillow; a fused multiply-add would give other results
    return (x - base).mul_(factor).add_(base).clamp_(0, 255).floor_()


def _luma(x: Tensor) -> Tensor:
    """ITU-R 601 grey (n, 1, S, S) with Pillow's 16-bit weights; exact, as all sums are below 2 ** 24."""
    r, g, b = x.split(1, dim=1)
    return (r * 19595).add_(g, alpha=38470).add_(b, alpha=7471).add_(1 << 15).mul_(2**-16).floor_()


def _smooth(x: Tensor) -> Tensor:
    """Pillow's `ImageFilter.SMOOTH` for inner pixels: weight 5 for the pixel, 1 for each of its eight neighbours."""
    lines = x[..., :-2] + x[..., 1:-1] + x[..., 2:]
    around = lines[..., :-2, :] + lines[..., 1:-1, :] + lines[..., 2:, :]
    return around.add_(x[..., 1:-1, 1:-1], alpha=4).mul_(1 / 13).add_(0.5).floor_()


def _cutout_values(at: Slices, value: Tensor, centre: Tensor, size: int) -> tuple[Tensor, ...]:
    """Whether a column and a row are in the square, (n, S) float32 of 0 and 1 each, and the colour of the square."""
    side = size * value[:, None]
    start = (size * centre - side / 2).clamp_(min=0).floor_()
    pixel = torch.arange(size)
    # Pillow's rectangles include their end coordinates
    inside = (pixel >= start[..., None]) & (pixel <= (start + side)[..., None]) & (side[..., None] > 0)
    along_x, along_y = inside.float().unbind(1)
    return along_x, along_y, torch.tensor(CUTOUT_FILL)[:, None, None]


def _cutout(x: Tensor, at: Slices, along_x: Tensor, along_y: Tensor, fill: Tensor) -> Tensor:
    """Fills a square; at the left and top edge the square is shifted into the image, as in BCL's code."""
    mask = along_y[:, None, :, None] * along_x[:, None, None, :]
    return x + mask * (fill - x)


Prepare = Callable[[Slices, Tensor, Tensor, int], tuple[Tensor, ...]]
Act = Callable[..., Tensor]
# first operation, last operation + 1, a function that computes the values of n images on the CPU, and one that applies them to
# (n, 3, S, S) images in the order of OPERATIONS
GROUPS: Sequence[tuple[int, int, Prepare, Act]] = (
    (0, 5, _affine_values, _affine),
    (5, 10, _lookup_values, _lookup),
    (10, 14, _enhance_values, _enhance),
    (14, 15, _cutout_values, _cutout),
)
