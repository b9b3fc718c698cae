"""Benchmark base class and registry: images, labels, index lists, augmentation, evaluation transform and recipe."""

import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from core.errors import UserError, nearest
from core.files import expand_user
from core.registry import ALL, FOLDER, Registry
from data.image_files import ImageFiles
from data.lists.longtail import IndexLists, Indices, fingerprint
from data.pools.pool import ORDER
from data.recipe import Recipe
from data.variants import profile_of, variant_of
from data.views.spec import Evaluation, View

Grouping = Literal["thirds", "number"]  # thirds of the classes by count; or > 100, 20 to 100, < 20 images
FOLDER_NAME = re.compile(r"folder-[a-z0-9_]+-[0-9a-f]{8}")  # names of benchmarks of folders of images
BALANCED: Literal["balanced"] = "balanced"  # name of the balanced profile and index list


@dataclass(frozen=True)
class Source:
    """Origin of a benchmark's images. Copies of the same images in different file formats are one source."""

    name: str  # description; states a non-official image order
    checksum: str  # algorithm, hexadecimal digest, and what it covers
    mark: str = ""  # suffix of file names for images that differ from the published ones: `surrogate-order`
    lacks: str = ""  # names of missing published lists; not part of the identity
    place: str = ""  # absolute path of a folder of the user's images; not part of the identity

    @property
    def digest(self) -> str:
        """Algorithm and digest."""
        return " ".join(self.checksum.split()[:2])

    @property
    def short(self) -> str:
        """Algorithm and the first twelve digits."""
        return self.digest[: self.digest.find(" ") + 13]


@dataclass(frozen=True)
class Images:
    """Images and labels of a benchmark."""

    train: NDArray[np.uint8] | ImageFiles  # (N, 3, H, W) in memory, or N files; indexed by the index lists
    train_labels: Indices  # (N,)
    test: NDArray[np.uint8] | ImageFiles  # (M, 3, H, W), or M files
    test_labels: Indices  # (M,)
    source: Source = Source("unnamed images", "none")


@dataclass(frozen=True)
class Profile:
    """One long-tailed construction of a benchmark; results of different profiles are not comparable."""

    counts: tuple[int, ...]  # class counts of the pretraining set, largest first; empty if defined by an index file
    splits: int  # number of splits; splits are numbered from 1
    about: str  # one line: origin
    official: int  # splits 1 to `official` are published; the others are defined by this suite


class MissingData(UserError):
    """Data is missing, as opposed to damaged."""

    def line(self, dataset: str, variant: str) -> str:
        """One line on the data of a variant, in place of its passport."""
        return f"MISSING DATA: {dataset} (variant {variant}): {self}"


class Benchmark(ABC):
    """Base class of benchmarks. Subclasses define the class variables and implement loading and index lists."""

    name: ClassVar[str]  # set by `register`
    title: ClassVar[str]
    paper: ClassVar[str]
    image_size: ClassVar[int]  # side of the images in px; input size of the probes
    labelled_images: ClassVar[int]  # images used by the probes, test images included
    class_names: tuple[str, ...]  # with index files: known after reading them
    profiles: ClassVar[Mapping[str, Profile]]  # the first is the default
    other_profiles: ClassVar[tuple[str, ...]] = ()  # listing lines for parametrised names
    view: ClassVar[View] = View()  # augmentation of a CONTRASTIVE view
    in_files: ClassVar[bool] = False  # whether images are image files instead of one array in memory
    evaluation: ClassVar[Evaluation] = Evaluation()  # evaluation transform
    recipe: ClassVar[Recipe] = Recipe()
    suite: ClassVar[bool] = True  # whether `--datasets all` includes it
    groups: ClassVar[Grouping] = "thirds"  # definition of the many, medium and few groups
    pools: ClassVar[tuple[str, ...]] = ORDER  # OOD pools by preference; the first one on disk is used
    own_pools: ClassVar[tuple[str, ...]] = ()  # excluded pools: they contain images of this benchmark

    @abstractmethod
    def load(self, data_root: Path, needs: Collection[str] | None = None, *, fetch: bool = True) -> Images:
        """Loads and verifies the images.

        Args:
            data_root: data folder.
            needs: names of the index lists in `IndexLists` that are used in addition to the pretraining and test lists; other
                index files are not downloaded, and their images may be missing. None: all.
            fetch: whether to download missing data.

        Raises:
            MissingData: data is missing, and `fetch` is False or it has no download.
            UserError: data is damaged or inconsistent, or a download fails.
        """

    @abstractmethod
    def describe_copy(self, data_root: Path) -> str:
        """Describes the copy of the data that `load` would use, in a few words; downloads nothing."""

    @abstractmethod
    def lists(self, train_labels: Indices, profile: str, split: int) -> IndexLists:
        """Returns the index lists of one split (numbered from 1) of one profile."""

    def labels(self, data_root: Path) -> tuple[Indices, Source]:
        """Returns the training labels and the source without downloading.

        Raises:
            MissingData: data is missing.
            UserError: data is damaged.
        """
        images = self.load(data_root, fetch=False)
        return images.train_labels, images.source

    def missing_files(self, data_root: Path, needs: Collection[str] | None = None) -> list[str]:
        """Names the missing files that `load` needs; checks existence only."""
        return []

    def checksums(self, lists: IndexLists) -> dict[str, tuple[int, str]]:
        """Returns length and SHA-256 of every index list by name; pixels are covered by the checksum of the source."""
        return {name: (len(indices), fingerprint(indices)) for name, indices in vars(lists).items()}

    @classmethod
    def size(cls, profile: str) -> int:
        """Number of images in the pretraining set; 0 if unknown before an index file is read."""
        return sum(cls.profiles[profile].counts)

    def group_counts(self, train_labels: Indices, profile: str, split: int) -> NDArray[np.int64]:
        """Class counts (C,) that define the many, medium and few groups.

        These are the counts of the pretraining set; for a balanced set, those of the default profile in the same split, so that
        a balanced set has the groups of its long-tailed counterpart.
        """

        def counts(of: str) -> NDArray[np.int64]:
            pretrain = self.lists(train_labels, of, split).pretrain
            return np.bincount(train_labels[pretrain], minlength=len(self.class_names))

        own = counts(profile)
        return counts(self.profile(None)) if profile == BALANCED or np.ptp(own) == 0 else own

    def missing_lists(self, data_root: Path) -> frozenset[str]:
        """Names of index lists that this benchmark does not provide; probes that need one are unavailable."""
        return frozenset({"shot100"})

    @classmethod
    def evaluation_of(cls, recipe: Recipe) -> Evaluation:
        """Evaluation transform for a network trained with `recipe`: image files are cropped to its largest view size."""
        if not cls.in_files or cls.evaluation.resize is None or cls.evaluation.crop is None:
            return cls.evaluation
        side = max(recipe.sizes)
        return replace(cls.evaluation, resize=round(cls.evaluation.resize * side / cls.evaluation.crop), crop=side)

    def profile(self, name: str | None) -> str:
        """Profile of a variant, by either name; None is the default. Raises UserError for an unknown name."""
        if name is None:
            return next(iter(self.profiles))
        profile = profile_of(self.name, name)
        if profile not in self.profiles:
            raise UserError(f"{self.name} has no variant {name!r}{nearest(name, self.variants())}")
        return profile

    @classmethod
    def variants(cls) -> list[str]:
        """Names of the variants, the default first."""
        return [variant_of(cls.name, profile) for profile in cls.profiles]

    def check_split(self, profile: str, split: int) -> None:
        """Raises UserError for a split number out of range."""
        splits = self.profiles[profile].splits
        if not 1 <= split <= splits:
            has = "one split" if splits == 1 else f"splits 1 to {splits}"
            raise UserError(f"{self.name} (variant {variant_of(self.name, profile)}) has {has}, not {split}; change --splits")


class BenchmarkRegistry(Registry[type[Benchmark]]):
    """The registered benchmarks, and those of folders of images, `folder:PATH` in options (`data/datasets/image_folder.py`)."""

    def __contains__(self, name: str) -> bool:
        return bool(FOLDER_NAME.fullmatch(name)) or super().__contains__(name)

    def __getitem__(self, name: str) -> type[Benchmark]:
        if FOLDER_NAME.fullmatch(name):
            from data.datasets.image_folder import folder_benchmark

            return folder_benchmark(name)
        return super().__getitem__(name)

    def select(self, patterns: Iterable[str]) -> list[str]:
        """Names that match any of `patterns`, see `core.registry.select`; reads the folder of each `folder:PATH`.

        Raises:
            UserError: a pattern matches nothing, a folder cannot be used, or two folders have the same name and images.
        """
        from data.datasets.image_folder import enter, known_places

        chosen: dict[str, Path | None] = {}
        for pattern in patterns:
            if pattern.lower().startswith(FOLDER):
                path = Path(pattern[len(FOLDER) :])
                if pattern[len(FOLDER) :].strip() == "":
                    raise UserError(f"the dataset {pattern!r} has no path; write {FOLDER}PATH")
                name = enter(path)
                other = chosen.setdefault(name, path)
                if other is not None and not expand_user(other).samefile(expand_user(path)):
                    raise UserError(
                        f"{other} and {path} have the same name, paths and file sizes, and so would their runs; omit or rename "
                        "one of them"
                    )
            else:
                names = [pattern] if pattern in known_places() else super().select([pattern])
                chosen |= {name: None for name in names if name not in chosen}
        return list(chosen)


BENCHMARKS = BenchmarkRegistry("dataset", package="data.datasets", groups={ALL: lambda benchmark: benchmark.suite})
register = BENCHMARKS.register  # class decorator; the argument is the name in options, records and tables
