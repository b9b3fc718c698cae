"""Benchmarks of the user's own folders of images: `folder:PATH` in options, `folder-NAME-HASH` in run folders and records.

`data/lists/class_folders.py` reads the folder and describes its layouts. The hash is that of parts, relative paths, class names
and file sizes, so that the names of runs depend on the images and not on their place.

Profile `natural`: the pretraining set is all training images. Profiles of any imbalance ratio, by the construction of
CIFAR-10-LT (`data/datasets/cifar.py`) on the training images: `ir=RATIO` and `ir=RATIO,n=SIZE` have the largest class counts
that all classes can fill, or up to a tenth less if their mean then is an integer to 1 %; `balanced-ir=...` is the balanced
twin, with this mean as the count of every class. The larger a class, the larger its class count; the order of classes of equal
size, and the images, depend on the split. Probes use the labels of all training images in each variant.
"""

import re
from bisect import bisect_right
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from core.errors import UserError
from core.seeds import seed_of
from core.words import counted, listed
from data.benchmark import BALANCED, Images, MissingData, Profile, Source
from data.datasets.cifar_profiles import RATIO, SIZE, SPLITS, ratio_and_size, similar_variant
from data.datasets.listed import ListedBenchmark
from data.image_files import Unreadable, check_files
from data.lists.class_folders import ClassFolders, Part, read_class_folders
from data.lists.holdout import FileIndexLists
from data.lists.index_file import IndexFile
from data.lists.longtail import IndexLists, Indices, cut, exponential_profile, shuffled_classes
from data.lists.merge import Role

NATURAL = "natural"
TWIN = f"{BALANCED}-"  # prefix of the variant of a balanced twin
ROLES: Mapping[Role, Part] = {"pretrain": "train", "train": "train", "val": "val", "test": "test"}
TWIN_TOLERANCE = 0.01  # relative difference in size up to which the reports compare a set with its balanced twin
REDUCTION = 0.1  # relative, at most, of the largest class count for a balanced twin of that size
LONGEST = 40  # characters of NAME
DIGITS = 8  # hexadecimal digits of HASH

_places: dict[str, Path] = {}  # by name of the benchmark: where its images are
_read: dict[str, ClassFolders] = {}  # by name: of the folders that this process has read
_readable: set[str] = set()  # names of the benchmarks whose image files were checked


class FolderProfiles(Mapping[str, Profile]):
    """Profile `natural`, and `ir=...` and `balanced-ir=...` on look-up."""

    def __iter__(self) -> Iterator[str]:
        return iter((NATURAL,))

    def __len__(self) -> int:
        return 1

    def __getitem__(self, name: str) -> Profile:
        """Returns a profile without class counts. Raises KeyError for an unknown name, UserError for a malformed one."""
        if name == NATURAL:
            return Profile((), splits=1, about="all training images of the user's folder", official=0)
        ratio = name.removeprefix(TWIN)
        if not ratio.startswith(RATIO):
            raise KeyError(name)
        ratio_and_size(ratio)
        about = "drawn from the training images of the user's folder, constructed like the SDCLR splits"
        if name != ratio:
            about = f"balanced twin of {ratio}, {about}; groups are those of the long-tailed set"
        return Profile((), SPLITS, about, official=0)


class ImageFolder(ListedBenchmark):
    """The number of classes follows from the folder; groups are thirds, as a small set may have no class over 100 images."""

    title = "Folder of images"
    paper = "the user's own images"
    labelled_images = 0  # unknown before the folder is read
    classes = None
    suite = False
    profiles = FolderProfiles()
    other_profiles = (
        f"variant {RATIO}NUMBER: this imbalance ratio, by the construction of the SDCLR splits",
        f"variant {RATIO}NUMBER,{SIZE}NUMBER: the same with at most this many images in total",
        f"variant {TWIN}{RATIO}NUMBER: the balanced twin of either",
    )
    images_description = "the images of the runs"
    lists_source = "the user's own images"
    files: ClassVar = {}
    lists_folder = ""
    images_folder = ""

    def load(self, data_root: Path, needs: Collection[str] | None = None, *, fetch: bool = True) -> Images:
        """Returns the image files, after a check that all are complete images in a mode with a defined range."""
        images = self._images(data_root, needs)
        if self.name not in _readable:
            folder = self._folder()
            names = [f"{folder.folder}/{name}" for part in folder.parts.values() for name in part.names]
            try:
                check_files(names)
            except Unreadable as error:
                raise UserError(
                    f"{len(error.reasons):,} of {len(names):,} images in {folder.folder} cannot be read: "
                    f"{listed(error.reasons.values())}; {error.remedy} or remove them"
                ) from error
            _readable.add(self.name)
        return images

    def lists(self, train_labels: Indices, profile: str, split: int) -> IndexLists:
        """Returns the lists of the folder, with the pretraining list of the profile.

        Raises:
            UserError: the classes are too small for the ratio or the size, or for the balanced twin.
        """
        own = super().lists(train_labels, NATURAL, split)
        if profile == NATURAL:
            return own
        ratio = profile.removeprefix(TWIN)
        made = self._long_tailed(own, train_labels, ratio, split)
        if profile == ratio:
            return made
        if not len(made.balanced):
            smallest = int(np.bincount(train_labels[own.train]).min())
            classes = len(self.class_names)
            raise UserError(
                f"{self.name}: the balanced twin of {ratio} needs {len(made.pretrain) // classes} training images of each "
                f"class, but the smallest has {smallest}; use a smaller size for both, such as {SIZE}{smallest * classes}"
            )
        return replace(made, pretrain=made.balanced)

    def group_counts(self, train_labels: Indices, profile: str, split: int) -> NDArray[np.int64]:
        """Class counts (C,) of the pretraining set, which define the groups; for a balanced twin, of the long-tailed set."""
        pretrain = self.lists(train_labels, profile.removeprefix(TWIN), split).pretrain
        return np.bincount(train_labels[pretrain], minlength=len(self.class_names))

    def profile(self, name: str | None) -> str:
        """Validates and normalises a profile name; None is `natural`."""
        if name is None:
            return NATURAL
        ratio = name.removeprefix(TWIN)
        if ratio.startswith(RATIO):
            number, size = ratio_and_size(ratio)
            plain = f"{RATIO}{number:.12g}" + (f",{SIZE}{size}" if size is not None else "")
            return plain if name == ratio else TWIN + plain
        if name == BALANCED:
            raise UserError(f"{self.name} has no variant {name!r}; {TWIN}{RATIO}NUMBER is the balanced twin of {RATIO}NUMBER")
        if name not in self.profiles:
            raise UserError(f"{self.name} has no variant {name!r}{similar_variant(name, [NATURAL])}")
        return name

    @classmethod
    def size(cls, profile: str) -> int:
        """Returns 0: unknown before the folder is read."""
        return 0

    def missing_lists(self, data_root: Path) -> frozenset[str]:
        """Names of the lists that are not made."""
        return frozenset({"fewshot", "shot100"})

    def describe_copy(self, data_root: Path) -> str:
        """Describes the place of the folder."""
        return f"found {self._images_folder(data_root)}"

    def missing_files(self, data_root: Path, needs: Collection[str] | None = None) -> list[str]:
        """Empty: a missing folder is an error."""
        return []

    def _images_folder(self, data_root: Path) -> Path:
        return self._folder().folder

    def _state(self, data_root: Path) -> tuple[object, ...]:
        return (self._folder().digest,)

    def _read_lists(self, data_root: Path) -> dict[Role, IndexFile]:
        folder = self._folder()
        return {role: folder.parts[part] for role, part in ROLES.items()}

    def _source(self, found: Mapping[Role, IndexFile]) -> Source:
        folder = self._folder()
        drawn = f"; {' and '.join(folder.drawn)} images drawn by this suite" if folder.drawn else ""
        checksum = f"sha256 {folder.digest} of parts, paths, classes and file sizes"
        return Source(f"{self.lists_source}{drawn}", checksum, place=str(folder.folder))

    def _names_of_classes(self, found: Mapping[Role, IndexFile], classes: int) -> tuple[str, ...]:
        return self._folder().class_names

    def _folder(self) -> ClassFolders:
        """The folder as this process has read it first.

        Raises:
            MissingData: its place is unknown, or it has other images than the benchmark.
        """
        if self.name not in _read:
            place = _places.get(self.name)
            if place is None:
                raise MissingData(f"the folder of {self.name} is unknown on this machine; give it with --datasets folder:PATH")
            found = read_class_folders(place) if place.is_dir() else None
            if found is None or name_of(found) != self.name:
                what = "does not exist" if found is None else "has other images, or was read by another version of this suite"
                raise MissingData(f"{place}, the folder of {self.name}, {what}; restore it, or give its place as folder:PATH")
            _read[self.name] = found
        return _read[self.name]

    def _long_tailed(self, own: IndexLists, labels: Indices, ratio: str, split: int) -> IndexLists:
        """Adds the pretraining list of a ratio and, where all classes are large enough, its balanced twin."""
        number, size = ratio_and_size(ratio)
        members = [own.train[labels[own.train] == c].tolist() for c in range(len(self.class_names))]
        order = list(range(len(members)))
        Random(seed_of(split, "class order")).shuffle(order)
        order.sort(key=lambda c: -len(members[c]))  # stable
        available = [len(members[c]) for c in order]
        most = sum(available) if size is None else size

        def counts(largest: int) -> list[int]:
            return exponential_profile(largest, number, len(members))

        def too_large(largest: int) -> bool:
            wanted = counts(largest)
            return sum(wanted) > most or any(n > there for n, there in zip(wanted, available, strict=True))

        largest = bisect_right(range(1, available[0] + 1), False, key=too_large)
        if not largest or counts(largest)[-1] < 1:
            raise UserError(
                f"{self.name}: variant {ratio} leaves the smallest of {len(members)} classes empty: the largest has "
                f"{counted(largest, 'image')}; use a smaller ratio" + (" or a larger size" if size is not None else "")
            )
        for n in range(largest, int(largest * (1 - REDUCTION)), -1):
            if counts(n)[-1] >= 1 and sum(counts(n)) % len(members) <= TWIN_TOLERANCE * sum(counts(n)):
                largest = n
                break
        made = cut(shuffled_classes(members, seed_of(split, "images")), order, counts(largest))
        assert isinstance(own, FileIndexLists)
        fits = len(made["pretrain"]) // len(members) <= min(available)
        return replace(own, pretrain=made["pretrain"], balanced=made["balanced"] if fits else own.balanced)


def folder_benchmark(name: str) -> type[ImageFolder]:
    """The benchmark `folder-NAME-HASH`. Its images can be loaded if their place is known, from `enter` or `set_place`."""
    return type(name, (ImageFolder,), {"name": name, "__doc__": ImageFolder.__doc__})


def enter(path: Path) -> str:
    """Reads a folder of images; returns the name of its benchmark. Raises UserError like `read_class_folders`."""
    folder = read_class_folders(path)
    name = name_of(folder)
    _read[name], _places[name] = folder, folder.folder
    _readable.discard(name)
    return name


def set_place(name: str, place: Path, *, readable: bool = False) -> None:
    """Sets the place of the images of a benchmark, if it is not known; `readable`: its image files were checked."""
    _places.setdefault(name, place)
    if readable:
        _readable.add(name)


def known_places() -> dict[str, Path]:
    """Places of the folders that this process has read or was given, by name of the benchmark."""
    return dict(_places)


def name_of(folder: ClassFolders) -> str:
    """Name of the benchmark of a folder, which file names can contain."""
    slug = re.sub(r"[^a-z0-9]+", "_", folder.folder.resolve().name.lower()).strip("_")[:LONGEST]
    return f"folder-{slug or 'images'}-{folder.digest[:DIGITS]}"
