"""Batched crop, flip, resize and blur as two matrix products per image, with Pillow's filters."""

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from data.views.upload import upload

CUBIC_A = -0.5  # Pillow's bicubic (torch's own `interpolate` uses -0.75)
TABLE_NUMBERS = 8_000_000  # largest cached table of resampling matrices: 32 MB
BLUR_PASSES = 3  # box blurs in Pillow's Gaussian blur


@dataclass(frozen=True)
class CropPlan:
    """Resampling matrices of B crops: (B,) int64 entries of `_weight_table`, or for large images (B, size, length) float32."""

    rows: Tensor
    columns: Tensor
    size: int
    interpolation: str

    @classmethod
    def of(cls, box: Tensor, flip: Tensor, height: int, width: int, size: int, interpolation: str) -> "CropPlan":
        """Crops each image to its box, resizes it to `size` x `size` with antialiasing, and flips it where `flip` is True.

        Args:
            box: (B, 4) top, left, height, width; on the CPU.
            flip: (B,) bool.
            height: of the images.
            width: of the images.
            size: output side in px.
            interpolation: "bilinear" or "bicubic", with Pillow's filters.
        """
        top, left, h, w = box.unbind(1)
        rows = _weights(top, h, torch.zeros_like(flip), height, size, interpolation)
        return cls(rows, _weights(left, w, flip, width, size, interpolation), size, interpolation)


def crop_resize(images: Tensor, plan: CropPlan) -> Tensor:
    """Crops, resizes and flips (B, C, H, W) images in [0, 1]: (B, C, size, size), clamped to [0, 1]."""
    B, C, height, width = images.shape
    rows, columns = (  # (B, size, H) and (B, size, W)
        weights if weights.is_floating_point() else _weight_table(length, plan.size, plan.interpolation, images.device)[weights]
        for weights, length in ((plan.rows, height), (plan.columns, width))
    )
    # Pillow resizes rows first and clamps in between, which matters where bicubic overshoots
    narrow = (images.reshape(B, C * height, width) @ columns.transpose(1, 2)).clamp_(0, 1)  # (B, C*H, size)
    out = rows[:, None] @ narrow.view(B, C, height, plan.size)
    return out.clamp_(0, 1)


def _weights(start: Tensor, length: Tensor, mirror: Tensor, source: int, size: int, interpolation: str) -> Tensor:
    """`resize_weights`, rows reversed where `mirror` is True; for small images, entries of the table of all of them."""
    if 2 * source * (source + 1) * size * source <= TABLE_NUMBERS:
        return (mirror.long() * source + start) * (source + 1) + length
    weights = resize_weights(start, length, source, size, interpolation)
    return torch.where(mirror[:, None, None], weights.flip(1), weights)


@cache
def _weight_table(source: int, size: int, interpolation: str, device: torch.device) -> Tensor:
    """All matrices for crops of a line of `source` pixels: (2 * source * (source + 1), size, source).

    Boxes have integer coordinates, so a 32-px line has 2,112 matrices including flipped ones (9 MB); a look-up takes a tenth of
    the time of computing them per batch. Entries for boxes outside the line are unused.
    """
    start = torch.arange(source).repeat_interleave(source + 1)
    length = torch.arange(source + 1).repeat(source)
    weights = resize_weights(start, length, source, size, interpolation)
    return torch.cat([weights, weights.flip(1)]).to(device, non_blocking=True)


def resize_weights(start: Tensor, length: Tensor, source: int, size: int, interpolation: str) -> Tensor:
    """Matrices that resample pixels start .. start+length of a line of `source` pixels to `size` pixels.

    As in Pillow's `resize`, the filter is widened by the scale for downsampling (antialiasing), excludes pixels outside the
    crop, and each row sums to one.

    Returns:
        (B, size, source) float32.
    """
    start, length = start.float()[:, None, None], length.float()[:, None, None]
    scale = length / size  # source pixels per output pixel
    widen = scale.clamp(min=1.0)
    centre = (torch.arange(size)[:, None] + 0.5) * scale  # (B, size, 1), within the crop
    pixel = torch.arange(source) + 0.5 - start  # (B, 1, source), within the crop
    x = ((pixel - centre) / widen).abs_()
    weights = _cubic(x) if interpolation == "bicubic" else (1 - x).clamp_(min=0)
    weights = weights * ((pixel > 0) & (pixel < length))
    return weights / weights.sum(dim=-1, keepdim=True)


def _cubic(x: Tensor) -> Tensor:
    """Keys' cubic convolution kernel at distances x >= 0."""
    a = CUBIC_A
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((x - 5) * x + 8) * x * a - 4 * a
    return torch.where(x < 1, near, torch.where(x < 2, far, 0.0))


def resize_center(images: Tensor, shorter: int, crop: int, interpolation: str) -> Tensor:
    """Resizes the shorter side of (B, C, H, W) images in [0, 1] to `shorter` px and crops the central `crop` px square."""
    height, width = images.shape[2:]
    weights = []
    for length, resized in zip((height, width), resized_sides(height, width, shorter), strict=True):
        start = center_start(resized, crop)
        whole = resize_weights(torch.tensor([0]), torch.tensor([length]), length, resized, interpolation)[0]
        weights.append(whole[start : start + crop])
    rows, columns = upload(weights, images.device)
    return (rows @ (images @ columns.T).clamp_(0, 1)).clamp_(0, 1)


def resized_sides(height: int, width: int, shorter: int) -> tuple[int, int]:
    """Height and width in px after resizing the shorter side to `shorter`; the other is truncated to integers (torchvision)."""
    return (shorter, int(shorter * width / height)) if height <= width else (int(shorter * height / width), shorter)


def center_start(length: int, crop: int) -> int:
    """Start of the central `crop` pixels of a line of `length` pixels (torchvision's rounding)."""
    return round((length - crop) / 2)


@dataclass(frozen=True)
class BlurPlan:
    """Pillow's Gaussian blur of some images of a batch."""

    here: Tensor  # (n,) int64: these images
    radius: Tensor  # (n,) float32: radius of their box blur in px
    reach: int  # upper bound of the radii in px

    @classmethod
    def of(cls, sigma: Tensor) -> "BlurPlan | None":
        """Blurs where `sigma` (B,), the radius of Pillow's blur in px, is above 0; None if nowhere."""
        here = sigma.nonzero().squeeze(1)
        if not len(here):
            return None
        radius = _box_radius(sigma[here])
        return cls(here, radius, int(radius.max()) + 2)


def gaussian_blur(images: Tensor, plan: BlurPlan) -> Tensor:
    """Applies Pillow's Gaussian blur to (n, C, H, W) images, those at `plan.here`."""
    height, width = images.shape[2:]
    rows = _blur_weights(plan.radius, plan.reach, height)
    columns = rows if width == height else _blur_weights(plan.radius, plan.reach, width)
    return rows[:, None] @ images @ columns.transpose(1, 2)[:, None]


def _box_radius(sigma: Tensor) -> Tensor:
    """Radii (B,) of the box blur whose threefold application has variance `sigma` squared.

    Fractional radii use fractional weights at both ends (Gwosdek et al. 2011, "Theoretical
    foundations of Gaussian convolution by extended box filtering"), as Pillow does.
    """
    variance = sigma.double().square() / BLUR_PASSES  # of one box
    whole = (((12 * variance + 1).sqrt() - 1) / 2).floor()
    part = (2 * whole + 1) * (whole * (whole + 1) - 3 * variance) / (6 * (variance - (whole + 1).square()))
    return (whole + part).float()


def _blur_weights(radius: Tensor, reach: int, length: int) -> Tensor:
    """Matrices (B, length, length) that blur a line of `length` pixels with edge replication.

    Args:
        radius: (B,) box radii, on the device.
        reach: upper bound of the box radii in px.
        length: pixels of the line.
    """
    radius = radius[:, None]
    distance = torch.arange(length + reach, device=radius.device)
    box = (radius + 1 - distance).clamp(0, 1) / (2 * radius + 1)  # (B, length + reach): weight by distance
    beyond = box.flip(1).cumsum(1).flip(1)[:, 1 : length + 1]  # total weight of larger distances
    line = distance[:length]
    once = box[:, (line[:, None] - line).abs()]
    once[:, :, 0] += beyond
    once[:, :, -1] += beyond.flip(1)
    return torch.linalg.matrix_power(once, BLUR_PASSES)
