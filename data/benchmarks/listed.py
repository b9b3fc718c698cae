"""Benchmarks whose images are files under the data root, and whose index lists are published files that name them.

A subclass declares where its images and lists come from; everything is checked before the first run: sums where they are known,
else the structure; that no list has an image twice or leads out of the folder; that lists agree on labels; that the images
are there. A list that the field does not have is empty, and probes that need it are refused. The validation and labelled lists
of sets that have none (`own_lists`) are made by `data/lists/own.py`.
"""

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from core.errors import UserError
from data.benchmark import Benchmark, Images, Source
from data.lists.lines import Listing, check_classes, check_listing, index, printable, read_bytes, read_lines, some
from data.lists.longtail import IndexLists, Indices
from data.lists.missing import missing_files
from data.lists.own import NONE, ListedLists, completed
from data.pictures import Pictures
from data.recipe import Recipe
from data.sources.fetch import download, fetch_once
from data.views.spec import Evaluation, View

log = logging.getLogger(__name__)

Role = Literal["pretrain", "train", "val", "fewshot", "shot100", "balanced", "test"]
MOST_CLASSES = 100_000  # of a user's own list: more is a slip
NEEDED: tuple[Role, ...] = ("pretrain", "test")  # without these there is no benchmark
TRAINING: tuple[Role, ...] = ("pretrain", "train", "val", "fewshot", "shot100", "balanced")  # the order of Images.train


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

    names: list[str]  # the distinct training images
    labels: Indices
    lists: ListedLists
    test: Listing
    source: Source
    class_names: tuple[str, ...]


class ListedBenchmark(Benchmark):
    """A benchmark by lists. An instance knows its lists and class names once `load`, `labels` or `check` has read them."""

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

    def load(self, data_root: Path) -> Images:
        """The images, after a look that all are there; lists that are missing are fetched."""
        for declared in self.files.values():
            file = self._file(data_root, declared)
            if declared.url is not None and not file.is_file():
                fetch_once(file, partial(self._fetch, declared, file))
        return self._images(data_root)

    def check(self, data_root: Path) -> Images:
        """The images, if all are there and no list is missing; nothing is fetched."""
        fetched = [declared for declared in self.files.values() if declared.url]
        if missing := [declared.name for declared in fetched if not self._file(data_root, declared).is_file()]:
            there = data_root / self.lists_folder
            raise UserError(f"{', '.join(missing)} not in {there}; `bench.py data {self.name}` fetches them")
        return self._images(data_root)

    def labels(self, data_root: Path) -> tuple[Indices, Source]:
        """Labels of the distinct training images of the lists that are there; no image is looked for."""
        opened = self._open(data_root)
        return opened.labels, opened.source

    def lists(self, train_labels: Indices, profile: str, split: int) -> IndexLists:
        """The lists that were read with the images or labels. Raises ValueError where none were."""
        if self._opened is None or len(self._opened.labels) != len(train_labels):
            raise ValueError(f"the lists of {self.name} come with its images: load these first, with the same object")
        return self._opened.lists

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

    def _fetch(self, declared: ListFile, file: Path) -> None:
        """Fetches one list into its place; a subclass may have other forms."""
        assert declared.url is not None
        what = f"the list {declared.name} of {self.title}"
        check = partial(self._read, declared=declared)
        download(what, declared.url, file, declared.known, check=check, otherwise="put the file there")

    def _parse(self, file: Path, declared: ListFile) -> Listing:
        """Reads one list; a subclass may have other forms. What is true of every form is checked afterwards."""
        kind, _, known = (declared.known or "").partition(":")
        content = read_bytes(file).replace(b"\r\n", b"\n")
        if known and (found := hashlib.new(kind, content).hexdigest()) != known:
            raise UserError(
                f"{file} is truncated or not of {self.lists_from}: its {kind} begins with {found[:12]}, not {known[:12]}; "
                "delete it to fetch it again, or restore it"
            )
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

    def _images(self, data_root: Path) -> Images:
        opened = self._open(data_root)
        folder = data_root / self.images_folder
        if not folder.is_dir():
            raise UserError(f"{self.title} needs the folder {folder}, with {self.images_from}; put or link it there")
        missing = missing_files(folder, [*opened.names, *opened.test.names])
        if missing:
            count = f"{len(missing):,} of {len(opened.names) + len(opened.test.names):,} images"
            raise UserError(
                f"{count} that the lists of {self.name} name are not in {folder}: {some(missing)}; it should hold "
                f"{self.images_from}"
            )
        train, test = (Pictures([f"{folder}/{name}" for name in names]) for names in (opened.names, opened.test.names))
        return Images(train, opened.labels, test, opened.test.labels, opened.source)

    def _open(self, data_root: Path) -> _Opened:
        """Reads the lists that are there."""
        found: dict[str, Listing] = {}
        for role, declared in self.files.items():
            file = self._file(data_root, declared)
            if file.is_file():
                found[role] = self._read(file, declared)
            elif role in NEEDED:
                get = f"`bench.py data {self.name}` fetches it, or " if declared.url else ""
                raise UserError(f"{file} is missing, the {role} list of {self.name}; {get}put it there")
        classes = self.classes or int(found["pretrain"].labels.max()) + 1
        if self.classes is None and classes < 3:
            raise UserError(f"{found['pretrain'].file} has {classes} classes; many, medium and few need three or more")
        check_classes(found["pretrain"], classes)
        check_classes(found["test"], classes)
        for listing in found.values() if self.classes is None else ():
            check_listing(listing, classes)
        roles = [role for role in TRAINING if role in found]
        names, labels, positions = index([found[role] for role in roles])
        index([*(found[role] for role in roles), found["test"]])  # that the test list agrees on labels
        tested = set(found["test"].names)
        for role in roles:
            if role != "balanced" and (both := [name for name in found[role].names if name in tested]):
                raise UserError(
                    f"{found[role].file} and {found['test'].file} share {len(both):,} images, {some(both)}: what is tested "
                    "must not be learned; correct one of them"
                )
        lists = ListedLists(**(dict.fromkeys(TRAINING, NONE) | dict(zip(roles, positions, strict=True))))
        missing = [declared.name for role, declared in self.files.items() if declared.url and role not in found]
        source = self._source(found, missing)
        if self.own_lists:
            lists, source = completed(lists, labels, source)
        if shared := len(np.intersect1d(lists.val, np.concatenate([lists.train, lists.fewshot, lists.shot100]))):
            log.warning("%s: %d validation images are labelled training images too: choices by them flatter", self.name, shared)
        self._opened = _Opened(names, labels, lists, found["test"], source, _class_names(found["pretrain"], classes))
        self.class_names = self._opened.class_names
        return self._opened

    def _source(self, found: Mapping[str, Listing], missing: list[str]) -> Source:
        """The sum is of the lists that numbers depend on: all but the balanced twin."""
        without = f"; WITHOUT {', '.join(missing)}, not there yet" if missing else ""
        used = [role for role in (*TRAINING[:-1], "test") if role in found]
        digest = hashlib.sha256("".join(f"{role} {found[role].sha256()}\n" for role in used).encode()).hexdigest()
        of = f"of the lists' paths and labels: {', '.join(used)}"
        return Source(f"{self.lists_from}; images unverified{without}", f"sha256 {digest} {of}")

    def _file(self, data_root: Path, declared: ListFile) -> Path:
        return data_root / self.lists_folder / declared.name


def _class_names(listing: Listing, classes: int) -> tuple[str, ...]:
    """The folder of each class's first image, or the class's number where images lie in no folder."""
    _, first = np.unique(listing.labels, return_index=True)
    folders = [listing.names[i].rpartition("/")[0].rpartition("/")[2] for i in first.tolist()]
    return tuple(printable(folder or str(c)) for c, folder in zip(range(classes), folders, strict=True))
