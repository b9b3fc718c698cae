"""Benchmarks whose images are files under the data root, and whose index lists are published files that name them.

A subclass declares where its images and lists come from; everything is checked before the first run: sums where they are known,
else the structure; that no list has an image twice or leads out of the folder; that lists agree on labels; that the images
are there. Only lists that a run needs are fetched for it, and only their images looked for. A list that the field does not
have is empty, and probes that need it are refused. The validation and labelled lists of sets that have none (`own_lists`) are
made by `data/lists/holdout.py`.
"""

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np

from core.errors import UserError
from data.benchmark import BALANCED, Benchmark, Images, NotThere, Source
from data.lists.holdout import ListedLists, completed
from data.lists.index_file import Listing, check_listing, check_sum, read_lines, sha256_of, some
from data.lists.longtail import IndexLists, Indices
from data.lists.merge import TRAINING, Role, class_count, class_folders, joined
from data.lists.missing_files import missing_files
from data.pictures import Pictures
from data.recipe import Recipe
from data.sources.fetch import download, fetch_once
from data.views.spec import Evaluation, View

log = logging.getLogger(__name__)

MOST_CLASSES = 100_000  # of a user's own list: more is a slip
NEEDED: tuple[Role, ...] = ("pretrain", "test")  # without these there is no benchmark


@dataclass(frozen=True)
class ListFile:
    """One published index list. What is not known of it is None, and is then not checked."""

    name: str  # of the file
    url: str | None = None  # where it is fetched; None: the user's own
    known: str | None = None  # the sum of what `url` delivers, `sha256:...` or `md5:...`; a text file itself has a SHA-256
    images: int | None = None
    smallest: int | None = None  # images of the smallest class
    largest: int | None = None


@dataclass(frozen=True)
class _Opened:
    """What the lists say."""

    state: tuple[object, ...]  # of the files when they were read
    names: list[str]  # the distinct training images
    labels: Indices
    lists: ListedLists
    test: Listing
    source: Source


class ListedBenchmark(Benchmark):
    """A benchmark by lists. An instance knows its lists and class names once `load` or `labels` has read them."""

    image_size = 224
    in_files = True
    view = View(crop_scale=(0.08, 1.0), blur_p=0.5)
    evaluation = Evaluation(resize=256, crop=224)
    recipe = Recipe(backbone="resnet50", epochs=500, batch_size=256, lr=0.5, sizes=(224,))
    class_names: tuple[str, ...] = ()  # the folders of the classes, once the lists are read

    classes: ClassVar[int | None]  # None: as many as the pretraining list has
    files: ClassVar[Mapping[Role, ListFile]]
    lists_folder: ClassVar[str]  # below the data root
    images_folder: ClassVar[str]  # below the data root; the lists' paths start there
    images_from: ClassVar[str]  # a clause: what belongs there
    lists_from: ClassVar[str]  # a clause: whose lists these are
    own_lists: ClassVar[bool] = False  # whether this suite makes labelled and validation lists where there are none

    def __init__(self) -> None:
        self._opened: _Opened | None = None

    def load(self, data_root: Path, needs: Collection[str] | None = None, *, fetch: bool = True) -> Images:
        """The images, after a look that all those of the lists that are needed are there; such lists are fetched.

        Lists that are there are read and checked even if they are not needed.
        """
        away = [role for role in self._needed(needs) if not self._file(data_root, self.files[role]).is_file()]
        fetched = [declared for declared in map(self.files.__getitem__, away) if declared.url]
        if fetched and not fetch:
            there = data_root / self.lists_folder
            names = ", ".join(declared.name for declared in fetched)
            raise NotThere(f"{names} not in {there}; `bench.py data {self.name}` fetches them")
        for declared in fetched:
            file = self._file(data_root, declared)
            fetch_once(file, partial(self._fetch, declared, file))
        return self._images(data_root, needs)

    def labels(self, data_root: Path) -> tuple[Indices, Source]:
        """Labels of the distinct training images of the lists that are there; no image is looked for."""
        opened = self._open(data_root)
        return opened.labels, opened.source

    def lists(self, train_labels: Indices, profile: str, split: int) -> IndexLists:
        """The lists that were read with the images or labels; of the profile `balanced` the twin is the pretraining list.

        Raises:
            ValueError: none were read.
            NotThere: there is no twin.
        """
        if self._opened is None or len(self._opened.labels) != len(train_labels):
            raise ValueError(f"the lists of {self.name} come with its images: load these first, with the same object")
        lists = self._opened.lists
        if profile != BALANCED:
            return lists
        if not len(lists.balanced):
            declared = self.files[BALANCED]
            get = f"`bench.py data {self.name}` fetches it" if declared.url else f"put it into {self.lists_folder}"
            raise NotThere(f"{declared.name} is missing, the balanced list of {self.name}; {get}")
        return replace(lists, pretrain=lists.balanced)

    def sums(self, lists: IndexLists) -> dict[str, tuple[int, str]]:
        """Length and SHA-256 of every list that is there: of paths and labels, whatever other lists there are."""
        assert self._opened is not None
        names, labels, test = self._opened.names, self._opened.labels, self._opened.test
        there = {name: indices for name, indices in vars(lists).items() if len(indices)}
        sums = {
            name: (len(indices), sha256_of([names[i] for i in indices.tolist()], labels[indices]))
            for name, indices in there.items()
        }
        return sums | {"test": (len(test.names), test.sha256())}

    @classmethod
    def size(cls, profile: str) -> int:
        """Images in the pretraining set as declared; 0 where only the list tells."""
        return cls.files[BALANCED if profile == BALANCED else "pretrain"].images or 0

    def absent(self, data_root: Path) -> frozenset[str]:
        """Lists that are neither there nor have an address, and that this suite does not make."""
        there = {role for role, file in self.files.items() if file.url or self._file(data_root, file).is_file()}
        return frozenset(TRAINING) - there - ({"train", "val"} if self.own_lists else set())

    def present(self, data_root: Path) -> str:
        """Where images and lists are looked for, and which lists are there."""
        folder = data_root / self.images_folder
        there = sum(self._file(data_root, declared).is_file() for declared in self.files.values())
        images = f"found {folder}" if folder.is_dir() else f"not there yet: {folder} should hold {self.images_from}"
        return f"{images}; {there} of {len(self.files)} lists in {data_root / self.lists_folder}"

    def lacking(self, data_root: Path, needs: Collection[str] | None = None) -> list[str]:
        """Lists that are needed and fetched, and the folder of images, where they are not there."""
        lists = [self._file(data_root, self.files[role]) for role in self._needed(needs) if self.files[role].url]
        away = [file.name for file in lists if not file.is_file()]
        folder = data_root / self.images_folder
        return away if folder.is_dir() else [*away, f"the folder {folder}"]

    def _needed(self, needs: Collection[str] | None) -> list[Role]:
        return [role for role in self.files if needs is None or role in needs or role in NEEDED]

    def _fetch(self, declared: ListFile, file: Path) -> None:
        """Fetches one list into its place; a subclass may have other forms."""
        assert declared.url is not None
        what = f"the list {declared.name} of {self.title}"
        check = partial(self._read, declared=declared)
        download(what, declared.url, file, declared.known, check=check, otherwise="put the file there")

    def _parse(self, file: Path, declared: ListFile) -> Listing:
        """Reads one list; a subclass may have other forms. What is true of every form is checked afterwards."""
        if declared.known:
            check_sum(file, declared.known, f"of {self.lists_from}")
        return read_lines(file)

    def _read(self, file: Path, declared: ListFile) -> Listing:
        """One list, checked as far as it can be alone."""
        listing = self._parse(file, declared)
        check_listing(listing, self.classes)
        if self.classes is None and (largest := int(listing.labels.max())) >= MOST_CLASSES:
            raise UserError(f"{file} has the label {largest}; classes are numbered from 0, at most {MOST_CLASSES:,} of them")
        counts = np.bincount(listing.labels)
        facts = {"images": len(listing.names), "smallest": int(counts[counts > 0].min()), "largest": int(counts.max())}
        for fact, found in facts.items():
            if (expected := getattr(declared, fact)) not in (None, found):
                of = "images" if fact == "images" else f"images of its {fact} class"
                raise UserError(f"{file} has {found:,} {of}, not {expected:,}; it is not {self.lists_from}: restore it")
        return listing

    def _images(self, data_root: Path, needs: Collection[str] | None) -> Images:
        opened = self._open(data_root)
        folder = data_root / self.images_folder
        if not folder.is_dir():
            raise NotThere(f"{self.title} needs the folder {folder}, with {self.images_from}; put or link it there")
        looked_for = opened.names
        if needs is not None:
            used = [getattr(opened.lists, role) for role in TRAINING if role in needs or role in NEEDED]
            looked_for = [looked_for[i] for i in np.unique(np.concatenate(used)).tolist()]
        if missing := missing_files(folder, [*looked_for, *opened.test.names]):
            count = f"{len(missing):,} of {len(looked_for) + len(opened.test.names):,} images"
            raise NotThere(
                f"{count} that the lists of {self.name} name are not in {folder}: {some(missing)}; it should hold "
                f"{self.images_from}"
            )
        train, test = (Pictures([f"{folder}/{name}" for name in names]) for names in (opened.names, opened.test.names))
        return Images(train, opened.labels, test, opened.test.labels, opened.source)

    def _open(self, data_root: Path) -> _Opened:
        """What the lists say that are there; they are read again only where a file has changed."""
        there = {role: file for role, declared in self.files.items() if (file := self._file(data_root, declared)).is_file()}
        state = tuple((role, file, file.stat().st_mtime_ns, file.stat().st_size) for role, file in there.items())
        if self._opened is not None and self._opened.state == state:
            return self._opened
        for role in NEEDED:
            if role not in there:
                declared = self.files[role]
                get = f"`bench.py data {self.name}` fetches it, or " if declared.url else ""
                file = self._file(data_root, declared)
                raise NotThere(f"{file} is missing, the {role} list of {self.name}; {get}put it there")
        found = {role: self._read(file, self.files[role]) for role, file in there.items()}
        classes = class_count(found, self.classes)
        names, labels, lists = joined(found)
        lacks = ", ".join(declared.name for role, declared in self.files.items() if declared.url and role not in found)
        source = Source(f"{self.lists_from}; images unverified", "none of the images; their lists name them", lacks=lacks)
        if self.own_lists:
            lists, source = completed(lists, labels, source)
        if shared := len(np.intersect1d(lists.val, np.concatenate([lists.train, lists.fewshot, lists.shot100]))):
            log.warning("%s: %d validation images are labelled training images too: choices by them flatter", self.name, shared)
        self.class_names = class_folders(found["pretrain"], classes)
        self._opened = _Opened(state, names, labels, lists, found["test"], source)
        return self._opened

    def _file(self, data_root: Path, declared: ListFile) -> Path:
        return data_root / self.lists_folder / declared.name
