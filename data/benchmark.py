"""What a benchmark is: images, labels for the probes, official index lists, the field's views and recipe."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from platformdirs import user_cache_path

from core.errors import UserError, nearest
from core.registry import Registry
from data.lists.longtail import IndexLists, Indices, fingerprint
from data.pictures import Pictures
from data.pools.pool import ORDER
from data.recipe import Recipe
from data.views.spec import Evaluation, View

Grouping = Literal["thirds", "number"]  # thirds of the classes by size; or more than 100, 20 to 100, fewer than 20 images
BALANCED: Literal["balanced"] = "balanced"  # name of the profile, and of the index list, of the balanced twin


@dataclass(frozen=True)
class Source:
    """Which images a benchmark is made of. Copies of the same images, in whatever files, are one source."""

    name: str  # a clause for people; it says so where the order of the images is not the official one
    checksum: str  # kind and value, and of what, in words
    mark: str = ""  # for names of files, where images only stand for the published ones: `surrogate-order`
    lacks: str = ""  # names of published lists that are not there yet; no part of the identity

    @property
    def digest(self) -> str:
        """Kind and value alone."""
        return " ".join(self.checksum.split()[:2])

    @property
    def short(self) -> str:
        """Kind and the first twelve digits."""
        return self.digest[: self.digest.find(" ") + 13]


@dataclass(frozen=True)
class Images:
    """A benchmark's images and their labels."""

    train: NDArray[np.uint8] | Pictures  # (N, 3, H, W) in memory, or N files; index lists point into it
    train_labels: Indices  # (N,)
    test: NDArray[np.uint8] | Pictures  # (M, 3, H, W), or M files
    test_labels: Indices  # (M,)
    source: Source = Source("unnamed images", "none")


@dataclass(frozen=True)
class Profile:
    """One way of making the benchmark long-tailed; numbers from different profiles are different benchmarks."""

    counts: tuple[int, ...]  # images per class of the pretraining set, largest class first; empty where a file tells them
    splits: int  # how many splits there are, numbered from 1
    about: str  # one line: where it comes from
    official: int  # how many of the splits, from 1, are its source's; the others are this suite's


class NotThere(UserError):
    """Data that is not there yet. Whatever is there may well be right."""


class Benchmark(ABC):
    """One benchmark. Subclasses declare the class variables and say how images and lists are made."""

    name: ClassVar[str]  # set by `register`
    title: ClassVar[str]
    paper: ClassVar[str]
    image_size: ClassVar[int]  # side of the images in px, and of the probes' inputs
    labelled_images: ClassVar[int]  # images that the probes look at, test images included
    class_names: tuple[str, ...]  # of a benchmark whose lists are files known once these are read
    profiles: ClassVar[Mapping[str, Profile]]  # the first is the default
    other_profiles: ClassVar[tuple[str, ...]] = ()  # a line each for listings: spellings beside the named ones
    view: ClassVar[View] = View()  # what a CONTRASTIVE view means on these images
    in_files: ClassVar[bool] = False  # whether its images stay in files until they are needed
    evaluation: ClassVar[Evaluation] = Evaluation()  # how images are shown to a frozen network
    recipe: ClassVar[Recipe] = Recipe()
    suite: ClassVar[bool] = True  # whether `--datasets all` means it
    groups: ClassVar[Grouping] = "thirds"  # what makes a class one of the many, medium or few
    pools: ClassVar[tuple[str, ...]] = ORDER  # the best first, of those taken where they are on disk
    own_pools: ClassVar[tuple[str, ...]] = ()  # pools made of this benchmark's own images, so never drawn on beside it

    @abstractmethod
    def load(self, data_root: Path, needs: Collection[str] | None = None, *, fetch: bool = True) -> Images:
        """Returns the verified images.

        Args:
            data_root: where they are or will be put.
            needs: index lists, by their names in `IndexLists`, that will be used beside the pretraining and test lists: where
                lists are files, the others are not fetched and their images not looked for. None: all.
            fetch: whether what is missing is fetched.

        Raises:
            NotThere: something is missing and is not to be fetched, or cannot be.
            UserError: something is damaged or contradictory, or cannot be fetched.
        """

    @abstractmethod
    def present(self, data_root: Path) -> str:
        """Says in a few words which copy of the data `load` would use, without fetching anything."""

    @abstractmethod
    def lists(self, train_labels: Indices, profile: str, split: int) -> IndexLists:
        """Makes the index lists of one split (numbered from 1) of one profile."""

    def labels(self, data_root: Path) -> tuple[Indices, Source]:
        """Labels of the training images and the images' source, from what is there: a benchmark that can fetch does not.

        Raises NotThere, saying what is missing, or UserError, saying what is wrong.
        """
        images = self.load(data_root, fetch=False)
        return images.train_labels, images.source

    def lacking(self, data_root: Path, needs: Collection[str] | None = None) -> list[str]:
        """What of the files that `load` would need is not there yet, a few words each; looked for, not verified."""
        return []

    def sums(self, lists: IndexLists) -> dict[str, tuple[int, str]]:
        """Length and SHA-256 of every index list, by its name: of positions among the images, whose own sum is the source's."""
        return {name: (len(indices), fingerprint(indices)) for name, indices in vars(lists).items()}

    @classmethod
    def size(cls, profile: str) -> int:
        """Images in the pretraining set; 0 where that is known only once a file is read."""
        return sum(cls.profiles[profile].counts)

    def group_counts(self, train_labels: Indices, profile: str, split: int) -> NDArray[np.int64]:
        """Images of each class, (C,), that decide which classes are many, medium and few.

        Those of the pretraining list; where classes are of one size, or meant to be, those of the first profile's in the same
        split, so that the few of a balanced twin are the few of the long-tailed set.
        """

        def counts(of: str) -> NDArray[np.int64]:
            pretrain = self.lists(train_labels, of, split).pretrain
            return np.bincount(train_labels[pretrain], minlength=len(self.class_names))

        own = counts(profile)
        return counts(self.profile(None)) if profile == BALANCED or np.ptp(own) == 0 else own

    def absent(self, data_root: Path) -> frozenset[str]:
        """Names of index lists, as probes ask for them, that this benchmark lacks there."""
        return frozenset({"shot100"})

    @classmethod
    def shown_to(cls, recipe: Recipe) -> Evaluation:
        """How a network trained by `recipe` is shown images: those in files at the size of its largest views."""
        if not cls.in_files or cls.evaluation.resize is None or cls.evaluation.crop is None:
            return cls.evaluation
        side = max(recipe.sizes)
        return replace(cls.evaluation, resize=round(cls.evaluation.resize * side / cls.evaluation.crop), crop=side)

    def profile(self, name: str | None) -> str:
        """The profile's name, or the default's for None. Raises UserError for one this benchmark lacks."""
        if name is None:
            return next(iter(self.profiles))
        if name not in self.profiles:
            raise UserError(f"{self.name} has no profile {name!r}{nearest(name, self.profiles)}")
        return name

    def check_split(self, profile: str, split: int) -> None:
        """Raises UserError for a split that the profile lacks."""
        splits = self.profiles[profile].splits
        if not 1 <= split <= splits:
            raise UserError(f"{self.name} (profile {profile}) has splits 1 to {splits}, not {split}; give others with --splits")


BENCHMARKS: Registry[type[Benchmark]] = Registry("dataset", package="data.datasets")
register = BENCHMARKS.register  # decorator of a Benchmark; its argument is the name in tables and records


def data_folder(wanted: Path | None) -> Path:
    """Where images lie: the folder asked for, else the user's cache folder by the platform's convention; absolute."""
    return (wanted or user_cache_path("tailbench") / "data").expanduser().absolute()
