"""What every backend of views is: the random numbers are drawn once for all, the pixels each makes in its own way."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.errors import UserError, nearest
from core.registry import Registry
from data.image_files import Encoded, ImageFiles
from data.views.color import normalize, to_float
from data.views.decoding import decode_for_evaluation
from data.views.params import Params, draw_batch
from data.views.resample import resize_center
from data.views.spec import Evaluation, View

CPU = torch.device("cpu")
ImageSet = Tensor | ImageFiles  # (B, 3, H, W) uint8 on any device, or pictures in files
Loaded = Tensor | Encoded  # the same, with the files' bytes in memory


class Backend(ABC):
    """Makes declared views of a batch of images on a device.

    What a view does to an image is drawn from the seed alone, on the CPU, by `data/views/params.py`: the same seed means the
    same view whichever backend carries it out, with any number of threads, and two backends can be compared image by image.
    """

    name: ClassVar[str]  # set by `register`
    about: ClassVar[str]  # one clause for `doctor`: how it works

    def __init__(self, views: Sequence[View], device: torch.device | str = "cpu"):
        """`views` are made in their order; `device` is where the results are wanted."""
        self.views = tuple(views)
        self.device = torch.device(device)

    @property
    def input_device(self) -> torch.device:
        """Where images in memory should lie for this backend."""
        return self.device

    @classmethod
    def missing_dependency(cls, device: torch.device = CPU) -> str | None:
        """None where this backend can work for runs on `device`, else what it lacks and how to get it."""
        return None

    def __call__(self, images: ImageSet, seed: int, size: int, strength: Tensor | None = None) -> tuple[Tensor, ...]:
        """Makes every declared view of `images`.

        Args:
            images: B images.
            seed: seed of this batch; views are drawn from it one after the other.
            size: side of the square views in pixels.
            strength: (B,) strengths in [0, 1] of the images for RandAugment, best on the CPU; None is 0 for all.

        Returns:
            One (B, 3, size, size) float32 tensor a view, normalised, on the backend's device.

        Raises:
            ValueError: strengths for views without RandAugment, or not one in [0, 1] an image.
            Unreadable: files that cannot be read or decoded.
        """
        loaded = images.read() if isinstance(images, ImageFiles) else images
        return self.render(loaded, draw_batch(self.views, *image_sizes(loaded), seed, strength), size)

    @abstractmethod
    def render(self, images: Loaded, drawn: Sequence[Params], size: int) -> tuple[Tensor, ...]:
        """Makes the views whose parameters are drawn already; otherwise as a call."""

    def evaluate(self, images: ImageSet, shown: Evaluation) -> Tensor:
        """The images as a frozen network is shown them: (B, 3, S, S) float32, normalised, on the backend's device.

        Raises:
            Unreadable: files that cannot be read or decoded.
        """
        if isinstance(images, ImageFiles):
            levels = decode_for_evaluation(images.read(), shown)
            return normalize(to_float(levels.to(self.device, non_blocking=True)), shown.mean, shown.std)
        x = to_float(images.to(self.device))
        if shown.resize is not None:
            x = resize_center(x, shown.resize, shown.crop or shown.resize, shown.interpolation)
        return normalize(x, shown.mean, shown.std)


BACKENDS: Registry[type[Backend]] = Registry("backend of views", package="data.views")
register = BACKENDS.register  # decorator of an Backend; its argument is the name on the command line and in records


def choose_backend(wanted: str, *, in_files: bool, device: torch.device) -> tuple[str, str]:
    """The backend's name, and why it was taken, for a user's wish or `auto`.

    Args:
        wanted: a registered name, or "auto".
        in_files: whether the images are pictures in files, not in memory.
        device: where the run trains.

    Raises:
        UserError: there is no such backend, or it lacks something here.
    """
    if wanted != "auto":
        if wanted not in BACKENDS:
            raise UserError(f"--views {wanted}: no backend has this name{nearest(wanted, [*BACKENDS.names(), 'auto'])}")
        missing = BACKENDS[wanted].missing_dependency(device)
        if missing:
            raise UserError(f"--views {wanted}: {missing}")
        return wanted, "as asked"
    if not in_files:
        return "torch", "auto: images in memory"
    if device.type == "cpu":  # Pillow's whole numbers take less memory traffic; see benchmarks/views.py
        return "torchvision", "auto: pictures in files, and no GPU"
    missing = BACKENDS["dali"].missing_dependency(device)
    if missing is None:
        return "dali", "auto: pictures in files, and a GPU to decode them"
    return "torch", f"auto: pictures in files; {missing}"


def image_set(images: NDArray[np.uint8] | ImageFiles) -> ImageSet:
    """A benchmark's images as backends take them; the memory of an array is shared."""
    return images if isinstance(images, ImageFiles) else torch.from_numpy(images)


def image_sizes(images: Loaded) -> tuple[Tensor, Tensor]:
    """Heights and widths of the images in px, each (B,)."""
    if isinstance(images, Encoded):
        return images.height, images.width
    return torch.full((len(images),), images.shape[2]), torch.full((len(images),), images.shape[3])
