"""What a view is, declared: the random transformations that turn one image into one training view.

A method names its views by role (`CONTRASTIVE`), the benchmark supplies the field's augmentation for its images, and an
backend (`data/views/backend.py`) carries the spec out. Nothing here touches a pixel.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class RandAugment:
    """Random operations that hit an image the harder, the larger its strength M in [0, 1] is (BCL, arXiv:2205.12693).

    Each is applied with probability M, at the magnitude `weakest + span * M`, of 30; if `jittered`, at
    `weakest + span * M * u` with u ~ U(0, 1) drawn once for all views of an image. The defaults are BCL-I. BCL-D is
    `RandAugment(operations=2, weakest=5, span=25, jittered=True)`, its large-scale variant the same with weakest 0 and span 30
    (MediaBrain-SJTU/BCL, `data/memoboosted_cifar100.py`).
    """

    operations: int = 1  # drawn per view with replacement from the fifteen of `data/views/randaugment.py`
    weakest: float = 10.0
    span: float = 20.0
    jittered: bool = False


@dataclass(frozen=True)
class View:
    """One random view, its operations in the order they are applied. Probabilities in [0, 1]; images in [0, 1].

    Defaults are the CIFAR column of the SDCLR protocol (VITA-Group/SDCLR, `train_simCLR.py`), with the ImageNet statistics
    that its networks subtract for CIFAR too.
    """

    crop_scale: tuple[float, float] = (0.1, 1.0)  # share of the image's area
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)  # width over height, log-uniform
    interpolation: Literal["bilinear", "bicubic"] = "bicubic"
    flip_p: float = 0.5
    jitter_p: float = 0.8  # the four operations below, in an order drawn per image
    brightness: float = 0.4  # factor in 1 -+ this
    contrast: float = 0.4
    saturation: float = 0.4
    hue: float = 0.1  # shift in -+ this, in turns of the colour circle
    gray_p: float = 0.2
    blur_p: float = 0.0
    blur_sigma: tuple[float, float] = (0.1, 2.0)  # pixels; what Pillow calls the radius of its Gaussian blur
    solarize_p: float = 0.0  # inverts the grey levels from 128 on
    randaugment: RandAugment | None = None  # with strengths of the batch's images
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD


@dataclass(frozen=True)
class Evaluation:
    """How an image is shown to a frozen network: nothing in it is random.

    With `resize` and `crop` None the image stays as it is; else its shorter side is resized, then its centre cut out. Images
    in memory have one size already; pictures of files need both.
    """

    resize: int | None = None  # shorter side in px
    crop: int | None = None  # side of the central square in px, at most `resize`
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD


@dataclass(frozen=True)
class Role:
    """A view as a method asks for it: the benchmark's own augmentation with the method's changes to it."""

    changes: tuple[tuple[str, Any], ...] = ()

    def but(self, **changes: Any) -> "Role":
        """The same role with some fields of `View` set, e.g. `CONTRASTIVE.but(gray_p=0)`."""
        return Role((*self.changes, *changes.items()))

    def on(self, base: View) -> View:
        """The spec for a benchmark whose augmentation is `base`. Raises TypeError for a field that `View` lacks."""
        return replace(base, **dict(self.changes))


CONTRASTIVE = Role()
