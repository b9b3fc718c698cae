"""Folders of images by class, and of webdataset shards, read into index lists; nothing is written.

Layouts, in the order in which they are recognised:
1. A file `metadata.csv` or `metadata.jsonl` with the columns `file_name` and `label`, as in Hugging Face's `imagefolder`; all
   paths begin with the name of a part (see PARTS, in any case), or all images are training images.
2. Folders of the parts, each with class folders or with such a file. Those of training images have to exist.
3. Class folders, all of training images.
4. Webdataset shards (`data/lists/webdataset.py`) at any depth. The part is a word of the path, as in `train-000012.tar`,
   `imagenet1k-validation-03.tar` and `test/00000.tar`; without one the shard is of training images.

A missing part is drawn from the training images, class by class: a fifth of the images for the test, a tenth for validation,
each rounded down, but at least one. One random stream `seed_of(0, "test and validation")` shuffles the classes in order.
Labels are numbers of the class names in alphabetical order, or in numerical order if all are integers.
"""

import hashlib
import logging
import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Literal

import numpy as np

from core.errors import UserError
from core.files import expand_user
from core.seeds import seed_of
from core.words import are, counted, listed, printable
from data.lists.imagefolder_metadata import METADATA, read_metadata
from data.lists.index_file import IndexFile
from data.lists.webdataset import COMPRESSED, SHARD, read_shards

log = logging.getLogger(__name__)

Part = Literal["train", "val", "test"]
PARTS: Mapping[Part, tuple[str, ...]] = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
DRAWN: Mapping[Part, int] = {"test": 5, "val": 10}  # one in this many training images of a class is drawn for a missing part
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".ppm", ".pgm", ".tif", ".tiff")
SHARDS = (SHARD, *COMPRESSED)
FEWEST_CLASSES = 3  # the groups many, medium and few
NAMED = 5  # classes that a message names


@dataclass(frozen=True)
class ClassFolders:
    """The images of a folder by part."""

    folder: Path  # absolute
    class_names: tuple[str, ...]
    parts: Mapping[Part, IndexFile]  # paths relative to the folder, ordered by class and path
    drawn: tuple[Part, ...]  # parts that were drawn from the training images
    digest: str  # SHA-256 of parts, paths, class names and file sizes


@dataclass(frozen=True)
class _Image:
    name: str  # relative POSIX path
    label: str  # name of the class


def read_class_folders(path: Path) -> ClassFolders:
    """Reads the images, and draws the missing parts. Reads sizes of image files, not their content.

    Raises:
        UserError: the folder is missing or cannot be read, or has no images, fewer than three classes, a class with too few
            images, empty or missing files, names of parts or classes that clash, or shards that are compressed, damaged or have
            samples without label.
    """
    folder = expand_user(path).absolute()
    if not folder.is_dir():
        raise UserError(f"folder:{path} {'is not a folder' if folder.exists() else 'does not exist'}; give a folder of images")
    files = dict(_files(folder, ""))
    sizes = {name: size for name, size in files.items() if not name.endswith(SHARDS)}
    shards = [name for name in files if name not in sizes]
    found = _images_by_part(folder, sizes)
    if shards and found["train"]:
        tars = f"{counted(len(shards), 'tar file')} {are(len(shards))} not used"
        log.warning("%s: %s, as there are image files: %s", folder, tars, listed(shards))
    elif shards:
        found, sizes = _images_in_shards(folder, shards, sizes)
    if not found["train"]:
        where = "in a class folder or a shard of training images"
        held = f"holds {counted(len(sizes), 'image')}, but none {where}" if sizes else "contains no image"
        raise UserError(f"{folder} {held}; put the images of each class into a folder of its own (suffixes: {_suffixes()})")
    if empty := [image.name for images in found.values() for image in images if not sizes[image.name]]:
        raise UserError(f"{folder} has {counted(len(empty), 'empty image file')}: {listed(empty)}; restore or remove them")
    names = _class_names(folder, found)
    digest = hashlib.sha256()
    for part, images in found.items():
        for image in images:
            line = f"{part}\0{image.name}\0{image.label}\0{sizes[image.name]}\n"
            digest.update(line.encode(errors="surrogateescape"))
    drawn = _draw_missing(folder, found, names)
    label_of = {name: label for label, name in enumerate(names)}
    parts = {part: _index_file(folder / part, images, label_of) for part, images in found.items()}
    return ClassFolders(folder, tuple(map(printable, names)), parts, drawn, digest.hexdigest())


def _files(folder: Path, prefix: str, above: tuple[tuple[int, int], ...] = ()) -> Iterator[tuple[str, int]]:
    """Yields relative path and size in bytes of all image files and tar files below a folder; hidden entries are omitted.

    Links to files and folders are followed, except to a folder above them. Raises UserError for a folder that cannot be read.
    """
    try:
        status = folder.stat()
        if (status.st_dev, status.st_ino) in above:
            return
        above = (*above, (status.st_dev, status.st_ino))
        with os.scandir(folder) as scanned:
            entries = sorted((entry for entry in scanned if not entry.name.startswith((".", "__MACOSX"))), key=_name)
        for entry in entries:
            if entry.is_dir():
                yield from _files(folder / entry.name, f"{prefix}{entry.name}/", above)
            elif (entry.name.lower().endswith(SUFFIXES) or entry.name.endswith(SHARDS)) and entry.is_file():
                yield f"{prefix}{entry.name}", entry.stat().st_size
    except OSError as error:
        raise UserError(f"{error.filename or folder} cannot be read ({error.strerror}); check its permissions") from error


def _name(entry: "os.DirEntry[str]") -> str:
    return entry.name


def _images_by_part(folder: Path, sizes: Mapping[str, int]) -> dict[Part, list[_Image]]:
    """The images of each part, in the order of their paths; a missing part is empty."""
    found: dict[Part, list[_Image]] = {part: [] for part in PARTS}
    rows = _in_metadata(folder, "", sizes)
    if rows is not None:
        outside = [row.name for row in rows if _part_of(row.name.partition("/")[0]) is None]
        if 0 < len(outside) < len(rows):
            raise UserError(
                f"{counted(len(outside), 'image')} in the metadata file of {folder} {are(len(outside))} in no folder of a part "
                f"(train, val, test), but others are: {listed(outside)}; move them, or rename the folders"
            )
        for row in rows:
            found[_part_of(row.name.partition("/")[0]) or "train"].append(row)
        return found
    top = {name.partition("/")[0] for name in sizes if "/" in name}
    below = {name.partition("/")[0] for name in sizes if name.count("/") > 1}
    with_metadata = {name for name in top if any((folder / name / file).is_file() for file in METADATA)}
    if "train" not in map(_part_of, below | with_metadata):  # else a class may have the name of a part
        _check_part_names(folder, below | with_metadata)
        found["train"] = _by_class_folder(folder, "", sizes)
        return found
    if others := sorted(name for name in top if _part_of(name) is None):
        log.warning("%s: images in %s are not used: these are not names of parts", folder, listed(others))
    for part in PARTS:
        present = sorted(name for name in top if _part_of(name) == part)
        if len(present) > 1:
            raise UserError(f"{folder} has the folders {' and '.join(present)} for the same part; keep one of them")
        for name in present:
            rows = _in_metadata(folder / name, f"{name}/", sizes)
            found[part] = _by_class_folder(folder, f"{name}/", sizes) if rows is None else rows
    return found


def _check_part_names(folder: Path, holders: Collection[str]) -> None:
    """Raises UserError if folders that hold classes are named like `seg_train` and `seg_test`, which are no classes."""
    parts = {name: found for name in sorted(holders) if (found := _parts_in(name))}
    if len(set[Part]().union(*parts.values())) > 1 and any("train" in found for found in parts.values()):
        raise UserError(
            f"{folder} has the folders {' and '.join(parts)}, with folders or a metadata file in them; rename them to train, "
            "val and test"
        )


def _part_of(name: str) -> Part | None:
    return next((part for part, names in PARTS.items() if name.lower() in names), None)


def _parts_in(path: str) -> set[Part]:
    """The parts whose names are words of a path; `training` and `testing` only without other names, which can be in them."""
    words = set(re.split("[^a-z]+", path.lower()))
    found = [{part for word in some if (part := _part_of(word))} for some in (words - {"training", "testing"}, words)]
    return found[0] or found[1]


def _by_class_folder(folder: Path, prefix: str, sizes: Mapping[str, int]) -> list[_Image]:
    """Images whose class is the first folder of their path below `prefix`; others are omitted with a warning."""
    images, classless = [], []
    for name in sizes:
        if name.startswith(prefix):
            label, slash, _ = name[len(prefix) :].partition("/")
            images.append(_Image(name, label)) if slash else classless.append(name)
    if classless and (images or prefix):
        log.warning(
            "%s: %s %s in no class folder and not used: %s",
            *(folder / prefix, counted(len(classless), "image"), are(len(classless)), listed(classless)),
        )
    return images


def _images_in_shards(
    folder: Path, shards: Sequence[str], others: Collection[str]
) -> tuple[dict[Part, list[_Image]], dict[str, int]]:
    """The images of each part in tar files, and their sizes in bytes; image files (`others`) are omitted with a warning.

    Raises:
        UserError: a file is compressed or has the names of two parts, or see `read_shards`.
    """
    if packed := [name for name in shards if not name.endswith(SHARD)]:
        raise UserError(
            f"{counted(len(packed), 'shard')} in {folder} {are(len(packed))} compressed: {listed(packed)}; decompress them, "
            "as images are read in random order"
        )
    part_of = {}
    for shard in shards:
        parts = _parts_in(shard)
        if len(parts) > 1:
            raise UserError(f"{folder / shard} has the names {' and '.join(sorted(parts))} of parts in its path; rename it")
        part_of[shard] = parts.pop() if parts else None
    unnamed = [shard for shard, part in part_of.items() if part is None]
    if unnamed and len(unnamed) < len(shards):
        log.warning(
            "%s: %s without a part in the path %s of training images: %s",
            *(folder, counted(len(unnamed), "shard"), are(len(unnamed)), listed(unnamed)),
        )
    if others:
        log.warning(
            "%s: %s %s in no shard and not used: %s",
            *(folder, counted(len(others), "image file"), are(len(others)), listed(others)),
        )
    found: dict[Part, list[_Image]] = {part: [] for part in PARTS}
    sizes = {}
    for sample in read_shards(folder, shards, SUFFIXES):
        found[part_of[sample.shard] or "train"].append(_Image(sample.name, sample.label))
        sizes[sample.name] = sample.size
    return found, sizes


def _in_metadata(folder: Path, prefix: str, sizes: Mapping[str, int]) -> list[_Image] | None:
    """Images in the metadata file of a folder, in the order of their paths; None without such a file or without labels.

    Raises:
        UserError: see `read_metadata`; or images are missing.
    """
    found = read_metadata(folder)
    if found is None:
        return None
    file, rows = found
    images = sorted((_Image(prefix + name, label) for name, label in rows), key=lambda image: image.name)
    if missing := [image.name for image in images if image.name not in sizes]:
        raise UserError(
            f"{len(missing):,} of {len(images):,} images in {file} {are(len(missing))} missing: {listed(missing)}; restore "
            "them, or remove their rows"
        )
    return images


def _class_names(folder: Path, found: Mapping[Part, Sequence[_Image]]) -> list[str]:
    """Names of the classes of the training images in the order of their labels.

    Raises:
        UserError: too few classes, names that look the same, classes that only the test or validation images have or that the
            test images lack, or validation images of one class.
    """
    labels = {part: {image.label for image in images} for part, images in found.items()}
    train = labels["train"]
    numbers = all(re.fullmatch("[0-9]{1,18}", name) for name in train)
    names = sorted(train, key=lambda name: (int(name) if numbers else 0, name))  # 1 and 01 are two classes, in a fixed order
    if len(names) < FEWEST_CLASSES:
        raise UserError(
            f"{folder} has {counted(len(names), 'class')} of training images ({_named(names)}); the groups many, "
            f"medium and few need at least {FEWEST_CLASSES}"
        )
    alike = defaultdict(list)
    for name in sorted(set[str]().union(*labels.values())):
        alike[_appearance(name)].append(name)
    if clash := next((others for others in alike.values() if len(others) > 1), None):
        raise UserError(f"{folder} has classes whose names look the same: {_named(clash)}; rename or merge them")
    for part in ("val", "test"):
        if others := sorted(labels[part] - train):
            raise UserError(f"{folder} has {part} images of classes without training images: {_named(others)}; remove them")
    if labels["test"] and (lacking := sorted(train - labels["test"])):
        raise UserError(f"{folder} has no test images of {_named(lacking)}; add them, or remove the test folder to draw them")
    if len(labels["val"]) == 1:
        raise UserError(
            f"{folder} has validation images of one class, {_named(labels['val'])}; add others, or remove them all to draw them"
        )
    return names


def _appearance(name: str) -> str:
    """A class name without case, invisible characters and differences of Unicode normalisation."""
    text = unicodedata.normalize("NFKC", name).casefold()
    return "".join(character for character in text if character.isprintable()).strip()


def _draw_missing(folder: Path, found: dict[Part, list[_Image]], names: Sequence[str]) -> tuple[Part, ...]:
    """Moves training images of each class to the parts without images; returns these parts.

    Raises:
        UserError: a class has too few images.
    """
    missing: tuple[Part, ...] = tuple(part for part in DRAWN if not found[part])
    if not missing:
        return ()
    members: dict[str, list[_Image]] = {name: [] for name in names}
    for image in found["train"]:
        members[image.label].append(image)
    if few := [f"{name!r} ({len(images)})" for name, images in members.items() if len(images) <= len(missing)]:
        raise UserError(
            f"{len(few)} of {len(names)} classes in {folder} {are(len(few))} too small: {listed(few, NAMED)}; a split into "
            f"train and {' and '.join(missing)} needs {len(missing) + 1} training images of each; add images, or remove these "
            "classes"
        )
    stream = Random(seed_of(0, "test and validation"))
    found["train"] = []
    for images in members.values():
        stream.shuffle(images)
        count = len(images)
        for part in missing:
            taken = max(1, count // DRAWN[part])
            found[part] += images[:taken]
            del images[:taken]
        found["train"] += images
    return missing


def _index_file(place: Path, images: Sequence[_Image], label_of: Mapping[str, int]) -> IndexFile:
    ordered = sorted(images, key=lambda image: (label_of[image.label], image.name))
    labels = np.array([label_of[image.label] for image in ordered], dtype=np.int64)
    return IndexFile([image.name for image in ordered], labels, place, unit="image")


def _named(names: Sequence[str] | set[str]) -> str:
    """Class names for messages; invisible characters are escaped."""
    return listed(map(repr, names), NAMED)


def _suffixes() -> str:
    return " ".join(SUFFIXES)
