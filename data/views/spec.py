"""Augmentation specs: random transformations of training views, and the evaluation transform.

A method declares its views by role (`CONTRASTIVE`), the benchmark defines the augmentation, and an augmentation backend
(`data/views/backend.py`) renders the views.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
# px: least side of a small view. At 4 px the last stage of a ResNet has maps of 1 px, for which bfloat16 convolutions of torch
# 2.14 on a CPU read uninitialised memory in the backward pass
SMALLEST = 6


@dataclass(frozen=True)
class RandAugment:
    """RandAugment with a per-image strength M in [0, 1] (BCL, arXiv:2205.12693).

    Each operation is applied with probability M, at magnitude `weakest + span * M` (maximum 30); if `jittered`, at
    `weakest + span * M * u` with u ~ U(0, 1) drawn once per image for all views. The defaults are BCL-I. BCL-D is
    `RandAugment(operations=2, weakest=5, span=25, jittered=True)`, its large-scale variant the same with weakest 0 and span 30
    (MediaBrain-SJTU/BCL, `data/memoboosted_cifar100.py`).
    """

    operations: int = 1  # drawn per view with replacement from the 15 in `data/views/randaugment.py`
    weakest: float = 10.0
    span: float = 20.0
    jittered: bool = False


@dataclass(frozen=True)
class View:
    """Spec of one random view; operations in order of application. Probabilities in [0, 1]; images in [0, 1].

    Defaults: the SDCLR protocol for CIFAR (VITA-Group/SDCLR, `train_simCLR.py`), which normalises with ImageNet statistics.
    """

    relative_size: float = 1.0  # side of the view relative to the run's view size, as of the small crops of multi-crop
    crop_scale: tuple[float, float] = (0.1, 1.0)  # fraction of the image area
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)  # aspect ratio, width over height, log-uniform
    interpolation: Literal["bilinear", "bicubic"] = "bicubic"
    flip_p: float = 0.5
    jitter_p: float = 0.8  # colour jitter: the four operations below, in random order per image
    brightness: float = 0.4  # factor in 1 +- this
    contrast: float = 0.4
    saturation: float = 0.4
    hue: float = 0.1  # shift in +- this, as a fraction of the hue circle
    gray_p: float = 0.2
    blur_p: float = 0.0
    blur_sigma: tuple[float, float] = (0.1, 2.0)  # px; radius of Pillow's Gaussian blur
    solarize_p: float = 0.0  # inverts values from 128 on
    randaugment: RandAugment | None = None  # with per-image strengths
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    def side(self, size: int) -> int:
        """Side in px where the run's view size is `size` px; at least `SMALLEST`, or `size` if that is less."""
        return max(min(SMALLEST, size), round(self.relative_size * size))


@dataclass(frozen=True)
class Evaluation:
    """Evaluation transform, deterministic: resize of the shorter side, centre crop, normalisation.

    With `resize` and `crop` None, images keep their size. Image files need both.
    """

    resize: int | None = None  # shorter side in px
    crop: int | None = None  # side of the central square in px, at most `resize`
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD


@dataclass(frozen=True)
class Role:
    """A view of a method: the benchmark's augmentation with changes by the method."""

    changes: tuple[tuple[str, Any], ...] = ()

    def but(self, **changes: Any) -> "Role":
        """Returns the role with changed fields of `View`, e.g. `CONTRASTIVE.but(gray_p=0)`."""
        return Role((*self.changes, *changes.items()))

    def on(self, base: View) -> View:
        """Applies the changes to a benchmark's augmentation. Raises TypeError for an unknown field of `View`."""
        return replace(base, **dict(self.changes))


CONTRASTIVE = Role()
