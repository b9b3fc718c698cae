"""What a benchmark is: images, labels for the probes, official index lists, the field's views and recipe."""

import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray
from platformdirs import user_cache_path

from core.errors import UserError, nearest
from core.registry import Registry
from data.longtail import IndexLists, Indices
from data.recipe import Recipe
from data.views import View


@dataclass(frozen=True)
class Images:
    """A benchmark's images in memory."""

    train: NDArray[np.uint8]  # (N, 3, H, W); index lists point into it
    train_labels: Indices  # (N,)
    test: NDArray[np.uint8]  # (M, 3, H, W)
    test_labels: Indices  # (M,)


@dataclass(frozen=True)
class Profile:
    """One way of making the benchmark long-tailed; numbers from different profiles are different benchmarks."""

    counts: tuple[int, ...]  # images per class of the pretraining set, largest class first
    splits: int  # how many official splits there are, numbered from 1
    about: str  # one line: where it comes from

    @property
    def size(self) -> int:
        """Images in the pretraining set."""
        return sum(self.counts)


class Benchmark(ABC):
    """One benchmark. Subclasses declare the class variables and say how images and lists are made."""

    name: ClassVar[str]  # set by `register`
    title: ClassVar[str]
    paper: ClassVar[str]
    image_size: ClassVar[int]  # side of the images in px, and of the probes' inputs
    labelled_images: ClassVar[int]  # images that the probes look at, test images included
    class_names: ClassVar[tuple[str, ...]]
    profiles: ClassVar[Mapping[str, Profile]]  # the first is the default
    view: ClassVar[View] = View()  # what a CONTRASTIVE view means on these images
    recipe: ClassVar[Recipe] = Recipe()
    suite: ClassVar[bool] = True  # whether `--datasets all` means it

    @abstractmethod
    def load(self, data_root: Path) -> Images:
        """Returns the verified images, fetching them first where they are missing. Raises UserError if it cannot."""

    @abstractmethod
    def present(self, data_root: Path) -> str:
        """Says in a few words which copy of the data `load` would use, without fetching anything."""

    @abstractmethod
    def lists(self, train_labels: Indices, profile: str, split: int) -> IndexLists:
        """Makes the index lists of one split (numbered from 1) of one profile."""

    def profile(self, name: str | None) -> str:
        """The profile's name, or the default's for None. Raises UserError for one this benchmark lacks."""
        if name is None:
            return next(iter(self.profiles))
        if name not in self.profiles:
            raise UserError(f"{self.name} has no profile {name!r}{nearest(name, self.profiles)}")
        return name


SCRATCH = ".fetch-"  # how folders of unfinished downloads begin

BENCHMARKS: Registry[type[Benchmark]] = Registry("dataset", package="data")
register = BENCHMARKS.register  # decorator of a Benchmark; its argument is the name in tables and records


def data_folder(wanted: Path | None) -> Path:
    """Where images lie: the folder asked for, else the user's cache folder by the platform's convention; absolute."""
    return (wanted or user_cache_path("tailbench") / "data").expanduser().absolute()


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Lets one process at a time fetch into `folder`; others wait and then find the data there.

    Whoever enters clears away the `SCRATCH*` folders that killed processes left.
    """
    with FileLock(folder / ".fetch.lock"):
        for leftover in folder.glob(f"{SCRATCH}*"):
            shutil.rmtree(leftover, ignore_errors=True)
        yield
