"""Base class of benchmarks with image files under the data root and published index files.

A subclass declares the sources of images and index files. Checked before the first run: checksums where published, otherwise
class counts; duplicate images and paths outside the image folder; consistent labels across lists; missing image files. Only
index files that a run needs are downloaded, and only their images must exist. A list that the benchmark lacks is empty, and
probes that need it are refused. With `completes_lists`, missing labelled and validation lists come from
`data/lists/holdout.py`.
"""

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np

from core.errors import UserError
from core.words import are, counted, listed
from data.benchmark import BALANCED, Benchmark, Images, MissingData, Source
from data.image_files import ImageFiles
from data.lists.holdout import FileIndexLists, add_missing_lists
from data.lists.index_file import IndexFile, check_index_file, read_index_file, sha256_of, verify_checksum
from data.lists.longtail import IndexLists, Indices
from data.lists.merge import TRAINING, Role, class_count, class_folders, merge_lists
from data.lists.missing_files import missing_files
from data.recipe import Recipe
from data.sources.fetch import download, fetch_once
from data.views.spec import Evaluation, View

log = logging.getLogger(__name__)

MOST_CLASSES = 100_000  # upper bound for user-defined lists, to catch mistakes
NEEDED: tuple[Role, ...] = ("pretrain", "test")  # lists that every run needs


@dataclass(frozen=True)
class ListFile:
    """One index file and its published facts; None means unknown and not checked."""

    name: str  # file name
    url: str | None = None  # download address; None: user-provided
    checksum: str | None = None  # of the download, `sha256:...` or `md5:...`; SHA-256 for text files
    images: int | None = None
    smallest: int | None = None  # images of the smallest class
    largest: int | None = None


@dataclass(frozen=True)
class _Opened:
    """Merged content of the index files."""

    state: tuple[object, ...]  # paths, sizes and modification times of the files
    names: list[str]  # paths of the distinct training images
    labels: Indices
    lists: FileIndexLists
    test: IndexFile
    source: Source


class ListedBenchmark(Benchmark):
    """Benchmark defined by index files. Index lists and class names are available after `load` or `labels`."""

    image_size = 224
    in_files = True
    view = View(crop_scale=(0.08, 1.0), blur_p=0.5)
    evaluation = Evaluation(resize=256, crop=224)
    recipe = Recipe(backbone="resnet50", epochs=500, batch_size=256, lr=0.5, sizes=(224,))
    class_names: tuple[str, ...] = ()  # class folders, set after reading the lists

    classes: ClassVar[int | None]  # None: found in the pretraining list
    files: ClassVar[Mapping[Role, ListFile]]
    lists_folder: ClassVar[str]  # below the data root
    images_folder: ClassVar[str]  # below the data root; paths in index files are relative to it
    images_description: ClassVar[str]  # expected content of the image folder, a clause
    lists_source: ClassVar[str]  # origin of the index files, a clause
    completes_lists: ClassVar[bool] = False  # whether missing labelled and validation lists are derived

    def __init__(self) -> None:
        self._opened: _Opened | None = None

    def load(self, data_root: Path, needs: Collection[str] | None = None, *, fetch: bool = True) -> Images:
        """Loads the image files after checking that those of all needed lists exist; downloads needed index files.

        Existing index files are read and validated even if they are not needed.
        """
        missing = [role for role in self._needed(needs) if not self._file(data_root, self.files[role]).is_file()]
        downloads = [declared for declared in map(self.files.__getitem__, missing) if declared.url]
        if downloads and not fetch:
            names = ", ".join(declared.name for declared in downloads)
            folder = data_root / self.lists_folder
            raise MissingData(f"{names} not in {folder}; `bench.py data {self.name}` downloads them")
        for declared in downloads:
            file = self._file(data_root, declared)
            fetch_once(file, partial(self._fetch, declared, file))
        return self._images(data_root, needs)

    def labels(self, data_root: Path) -> tuple[Indices, Source]:
        """Returns the labels of the distinct training images of all existing lists; does not check image files."""
        opened = self._open(data_root)
        return opened.labels, opened.source

    def lists(self, train_labels: Indices, profile: str, split: int) -> IndexLists:
        """Returns the lists read by `load` or `labels`; profile `balanced` pretrains on the balanced list.

        Raises:
            ValueError: no lists were read.
            MissingData: there is no balanced list.
        """
        if self._opened is None or len(self._opened.labels) != len(train_labels):
            raise ValueError(f"the index lists of {self.name} are read with its images: call load() or labels() first")
        lists = self._opened.lists
        if profile != BALANCED:
            return lists
        if not len(lists.balanced):
            declared = self.files[BALANCED]
            get = f"`bench.py data {self.name}` downloads it" if declared.url else f"put it into {self.lists_folder}"
            raise MissingData(f"{declared.name} is missing, the balanced list of {self.name}; {get}")
        return replace(lists, pretrain=lists.balanced)

    def checksums(self, lists: IndexLists) -> dict[str, tuple[int, str]]:
        """Returns length and SHA-256 of every existing list, over paths and labels; independent of the other lists."""
        return {role: (len(names), sha256_of(names, labels)) for role, (names, labels) in self.named_lists(lists).items()}

    def named_lists(self, lists: IndexLists) -> dict[Role, tuple[list[str], Indices]]:
        """Returns relative paths and labels of every existing list, the test list included."""
        assert self._opened is not None
        names, labels, test = self._opened.names, self._opened.labels, self._opened.test
        existing = {role: getattr(lists, role) for role in TRAINING if len(getattr(lists, role))}
        found: dict[Role, tuple[list[str], Indices]] = {
            role: ([names[i] for i in indices.tolist()], labels[indices]) for role, indices in existing.items()
        }
        return found | {"test": (test.names, test.labels)}

    @classmethod
    def size(cls, profile: str) -> int:
        """Declared number of images in the pretraining set; 0 if unknown."""
        return cls.files[BALANCED if profile == BALANCED else "pretrain"].images or 0

    def missing_lists(self, data_root: Path) -> frozenset[str]:
        """Names of lists that neither exist, nor can be downloaded, nor are derived."""
        available = {role for role, file in self.files.items() if file.url or self._file(data_root, file).is_file()}
        return frozenset(TRAINING) - available - ({"train", "val"} if self.completes_lists else set())

    def describe_copy(self, data_root: Path) -> str:
        """Describes the image folder and the number of existing index files."""
        folder = data_root / self.images_folder
        existing = sum(self._file(data_root, declared).is_file() for declared in self.files.values())
        images = f"found {folder}" if folder.is_dir() else f"missing: {folder} must contain {self.images_description}"
        return f"{images}; {existing} of {len(self.files)} index files in {data_root / self.lists_folder}"

    def missing_files(self, data_root: Path, needs: Collection[str] | None = None) -> list[str]:
        """Names needed downloadable index files and the image folder if they are missing."""
        lists = [self._file(data_root, self.files[role]) for role in self._needed(needs) if self.files[role].url]
        missing = [file.name for file in lists if not file.is_file()]
        folder = data_root / self.images_folder
        return missing if folder.is_dir() else [*missing, f"the folder {folder}"]

    def _needed(self, needs: Collection[str] | None) -> list[Role]:
        return [role for role in self.files if needs is None or role in needs or role in NEEDED]

    def _fetch(self, declared: ListFile, file: Path) -> None:
        """Downloads one index file; overridden for other formats."""
        assert declared.url is not None
        what = f"the index file {declared.name} of {self.title}"
        check = partial(self._read, declared=declared)
        download(what, declared.url, file, declared.checksum, check=check, otherwise="put the file there")

    def _parse(self, file: Path, declared: ListFile) -> IndexFile:
        """Parses one index file; overridden for other formats. Common checks follow in `_read`."""
        if declared.checksum:
            verify_checksum(file, declared.checksum, f"of {self.lists_source}")
        return read_index_file(file)

    def _read(self, file: Path, declared: ListFile) -> IndexFile:
        """Reads one index file and validates it on its own."""
        index_file = self._parse(file, declared)
        check_index_file(index_file, self.classes)
        if self.classes is None and (largest := int(index_file.labels.max())) >= MOST_CLASSES:
            raise UserError(
                f"{file} has the label {largest}; labels start at 0, and at most {MOST_CLASSES:,} classes are supported"
            )
        counts = np.bincount(index_file.labels)
        facts = {"images": len(index_file.names), "smallest": int(counts[counts > 0].min()), "largest": int(counts.max())}
        for fact, found in facts.items():
            if (expected := getattr(declared, fact)) not in (None, found):
                has = counted(found, "image") + ("" if fact == "images" else f" of its {fact} class")
                raise UserError(f"{file} has {has}, not {expected:,}; it is not {self.lists_source}: restore it")
        return index_file

    def _images(self, data_root: Path, needs: Collection[str] | None) -> Images:
        opened = self._open(data_root)
        folder = self._images_folder(data_root)
        if not folder.is_dir():
            raise MissingData(f"{self.title} needs the folder {folder} with {self.images_description}; create or link it")
        required = opened.names
        if needs is not None:
            used = [getattr(opened.lists, role) for role in TRAINING if role in needs or role in NEEDED]
            required = [required[i] for i in np.unique(np.concatenate(used)).tolist()]
        if missing := missing_files(folder, [*required, *opened.test.names]):
            count = f"{len(missing):,} of {len(required) + len(opened.test.names):,} images"
            raise MissingData(
                f"{count} in the index files of {self.name} {are(len(missing))} missing in {folder}: {listed(missing)}; it "
                f"must contain {self.images_description}"
            )
        train, test = (ImageFiles([f"{folder}/{name}" for name in names]) for names in (opened.names, opened.test.names))
        return Images(train, opened.labels, test, opened.test.labels, opened.source)

    def _open(self, data_root: Path) -> _Opened:
        """Reads and merges all existing index files; cached until a file changes."""
        state = self._state(data_root)
        if self._opened is not None and self._opened.state == state:
            return self._opened
        found = self._read_lists(data_root)
        classes = class_count(found, self.classes)
        names, labels, lists = merge_lists(found)
        source = self._source(found)
        if self.completes_lists:
            lists, source = add_missing_lists(lists, labels, source)
            self._check_completed(lists, labels, classes)
        if shared := len(np.intersect1d(lists.val, np.concatenate([lists.train, lists.fewshot, lists.shot100]))):
            log.warning(
                "%s: %d validation images are also labelled training images; validation scores are biased", self.name, shared
            )
        self.class_names = self._names_of_classes(found, classes)
        self._opened = _Opened(state, names, labels, lists, found["test"], source)
        return self._opened

    def _check_completed(self, lists: FileIndexLists, labels: Indices, classes: int) -> None:
        """Raises UserError if the derived labelled list lacks a class, or the derived validation list has fewer than two."""
        if lacking := sorted(set(range(classes)) - set(labels[lists.train].tolist())):
            raise UserError(
                f"{self.name}: the validation list has all labelled images of class {listed(map(str, lacking))}; remove some "
                "of them from it, as probes learn from the others"
            )
        if len(np.unique(labels[lists.val])) < 2:
            raise UserError(
                f"{self.name}: fewer than two classes have the two labelled images that are needed to hold one out for "
                "validation; add images, or a validation list"
            )

    def _state(self, data_root: Path) -> tuple[object, ...]:
        """Paths, sizes and modification times of the existing index files."""
        existing = self._existing(data_root)
        return tuple((role, file, file.stat().st_mtime_ns, file.stat().st_size) for role, file in existing.items())

    def _read_lists(self, data_root: Path) -> dict[Role, IndexFile]:
        """Reads all existing index files. Raises MissingData, which names all needed files that are missing."""
        existing = self._existing(data_root)
        missing = [role for role in NEEDED if role not in existing]
        if missing:
            files = [self.files[role] for role in missing]
            get = f"`bench.py data {self.name}` downloads {'them' if len(files) > 1 else 'it'}, or " if files[0].url else ""
            if len(files) == 1:
                file = self._file(data_root, files[0])
                raise MissingData(f"{file} is missing, the {missing[0]} list of {self.name}; {get}put it there")
            named = ", ".join(f"{file.name} ({role})" for role, file in zip(missing, files, strict=True))
            folder = data_root / self.lists_folder
            raise MissingData(f"{len(files)} index files of {self.name} are missing in {folder}: {named}; {get}put them there")
        return {role: self._read(file, self.files[role]) for role, file in existing.items()}

    def _source(self, found: Mapping[Role, IndexFile]) -> Source:
        """Source of the images and of the lists that were read."""
        lacks = ", ".join(declared.name for role, declared in self.files.items() if declared.url and role not in found)
        return Source(f"{self.lists_source}; images unverified", "none of the images; their lists name them", lacks=lacks)

    def _names_of_classes(self, found: Mapping[Role, IndexFile], classes: int) -> tuple[str, ...]:
        return class_folders(found["pretrain"], classes)

    def _images_folder(self, data_root: Path) -> Path:
        return data_root / self.images_folder

    def _existing(self, data_root: Path) -> dict[Role, Path]:
        return {role: file for role, declared in self.files.items() if (file := self._file(data_root, declared)).is_file()}

    def _file(self, data_root: Path, declared: ListFile) -> Path:
        return data_root / self.lists_folder / declared.name
