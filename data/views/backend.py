"""Augmentation backend: base class, registry and selection. Parameters are sampled identically for all backends."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.errors import UserError, nearest
from core.registry import Registry
from data.image_files import Encoded, ImageFiles
from data.views.color import normalize, to_float
from data.views.decoding import decode_for_evaluation
from data.views.params import Params, Part, draw_batch
from data.views.resample import resize_center
from data.views.spec import Evaluation, View
from data.views.upload import upload

CPU = torch.device("cpu")
ImageSet = Tensor | ImageFiles  # (B, 3, H, W) uint8 on any device, or image files
Loaded = Tensor | Encoded  # the same, with encoded files in memory


class Backend(ABC):
    """Renders views of a batch of images on a device.

    Augmentation parameters are drawn on the CPU from the seed (`data/views/params.py`): the same seed gives the same view for
    every backend and number of threads, so backends can be compared image by image.
    """

    name: ClassVar[str]  # set by `register`
    about: ClassVar[str]  # one clause for `doctor`

    def __init__(self, views: Sequence[View], device: torch.device | str = "cpu"):
        """`views` are rendered in order; results are on `device`."""
        self.views = tuple(views)
        self.device = torch.device(device)
        self._of_other_views: dict[tuple[View, ...], Self] = {}

    @property
    def input_device(self) -> torch.device:
        """Device on which in-memory images should be stored."""
        return self.device

    def for_views(self, *views: View) -> Self:
        """The backend of this kind and device for other views: one object for all calls, as its pipelines are slow to build."""
        if views not in self._of_other_views:
            self._of_other_views[views] = type(self)(views, self.device)
        return self._of_other_views[views]

    @classmethod
    def missing_dependency(cls, device: torch.device = CPU) -> str | None:
        """Describes a missing dependency for runs on `device` and its installation; None if the backend is available."""
        return None

    def __call__(
        self, images: ImageSet, seed: int, size: int, strength: Tensor | None = None, part: Part | None = None
    ) -> tuple[Tensor, ...]:
        """Renders all views of `images`.

        Args:
            images: B images.
            seed: seed of this batch; the parameters of all views are drawn from it in order.
            size: view size of the run in px, the side of square views whose spec has no other (`View.side`).
            strength: (B,) RandAugment strengths in [0, 1], preferably on the CPU; None is 0 for all images.
            part: `images` as a part of a larger batch, whose views they get; None: all of it.

        Returns:
            One (B, 3, S, S) float32 tensor per view, S its side, normalised, on the backend's device.

        Raises:
            ValueError: strengths without a RandAugment view, of the wrong shape, or outside [0, 1].
            Unreadable: files that cannot be read or decoded.
        """
        if not len(images):  # more processes than images
            sides = [view.side(size) for view in self.views]
            return tuple(torch.empty(0, 3, side, side, device=self.device) for side in sides)
        loaded = images.read() if isinstance(images, ImageFiles) else images
        return self.render(loaded, draw_batch(self.views, *image_sizes(loaded), seed, strength, part), size)

    @abstractmethod
    def render(self, images: Loaded, drawn: Sequence[Params], size: int) -> tuple[Tensor, ...]:
        """Renders views with given parameters; otherwise as `__call__`."""

    def evaluate(self, images: ImageSet, evaluation: Evaluation) -> Tensor:
        """Applies the evaluation transform: (B, 3, S, S) float32, normalised, on the backend's device.

        Raises:
            Unreadable: files that cannot be read or decoded.
        """
        if isinstance(images, ImageFiles):
            levels = decode_for_evaluation(images.read(), evaluation)
            return normalize(to_float(upload(levels, self.device)), evaluation.mean, evaluation.std)
        x = to_float(upload(images, self.device))
        if evaluation.resize is not None:
            x = resize_center(x, evaluation.resize, evaluation.crop or evaluation.resize, evaluation.interpolation)
        return normalize(x, evaluation.mean, evaluation.std)


BACKENDS: Registry[type[Backend]] = Registry("augmentation backend", package="data.views")
register = BACKENDS.register  # class decorator; the argument is the name in options and records


def choose_backend(wanted: str, *, in_files: bool, device: torch.device) -> tuple[str, str]:
    """Selects a backend; returns its name and the reason.

    Args:
        wanted: a registered name, "auto", or two of these as in "torch+dali": for images in memory, and for image files.
        in_files: whether the images are image files.
        device: training device.

    Raises:
        UserError: unknown backend, or a missing dependency.
    """
    of_memory, both, of_files = wanted.partition("+")
    if both:
        wanted = of_files if in_files else of_memory
    if wanted != "auto":
        if wanted not in BACKENDS:
            raise UserError(f"--views {wanted}: unknown augmentation backend{nearest(wanted, [*BACKENDS.names(), 'auto'])}")
        missing = BACKENDS[wanted].missing_dependency(device)
        if missing:
            raise UserError(f"--views {wanted}: {missing}")
        return wanted, "set by --views"
    if not in_files:
        return "torch", "auto: in-memory images"
    if device.type == "cpu":  # faster than float tensors on a CPU, see benchmarks/views.py
        return "torchvision", "auto: image files, no GPU"
    missing = BACKENDS["dali"].missing_dependency(device)
    if missing is None:
        return "dali", "auto: image files, decoded on the GPU"
    return "torch", f"auto: image files; {missing}"


def image_set(images: NDArray[np.uint8] | ImageFiles) -> ImageSet:
    """Converts a benchmark's images to backend input; an array shares its memory with the tensor."""
    return images if isinstance(images, ImageFiles) else torch.from_numpy(images)


def image_sizes(images: Loaded) -> tuple[Tensor, Tensor]:
    """Heights and widths of the images in px, each (B,)."""
    if isinstance(images, Encoded):
        return images.height, images.width
    return torch.full((len(images),), images.shape[2]), torch.full((len(images),), images.shape[3])
