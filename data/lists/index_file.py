"""Index files: one line `relative/path label` per image, also separated by tabs or commas; parsed and validated.

Reading takes 0.2 s for 115,846 lines and 2 s for the 1,281,167 of ImageNet, so nothing is cached (`benchmarks/lists.py`).
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import core.files
from core.errors import UserError, first_line
from core.words import listed, printable
from data.lists.longtail import Indices

# not in a normalised relative POSIX path: a root or drive, `.`, `..` or empty components, backslashes, NUL
FOREIGN_PATH = re.compile(r"^[A-Za-z]:|(?:^|/)\.{0,2}(?:/|$)|[\\\0]")
NAMED = 5  # classes that a message names
SUSPECTS = ("\n/", "//", "/\n", "\n.", "/.", "\n\n", ":", "\\", "\0")  # necessary substrings of such paths: a fast pre-check


@dataclass(frozen=True)
class IndexFile:
    """Content of one index file: image paths relative to the image folder, and labels."""

    names: list[str]  # relative POSIX paths; non-UTF-8 bytes as surrogates, as in `os.fsdecode`
    labels: Indices  # (N,)
    file: Path
    unit: str = "line"  # name of one entry in messages
    first: int = 1  # number of the first entry, 2 below a header

    def at(self, position: int) -> str:
        """File and entry number of the image at `position`, for messages."""
        return f"{self.file}, {self.unit} {position + self.first}"

    def sha256(self) -> str:
        """SHA-256 of paths and labels, independent of file format and line endings."""
        return sha256_of(self.names, self.labels)


def sha256_of(names: Sequence[str], labels: Indices) -> str:
    """Hexadecimal SHA-256 of paths and labels in order."""
    digest = hashlib.sha256("\n".join(names).encode(errors="surrogateescape"))
    digest.update(np.ascontiguousarray(labels, dtype="<i8").tobytes())
    return digest.hexdigest()


def verify_checksum(file: Path, checksum: str, what: str) -> None:
    """Raises UserError if a text file does not match its checksum; line endings are normalised first.

    Args:
        file: index file.
        checksum: `sha256:...` or `md5:...`.
        what: description for the message.
    """
    kind, _, expected = checksum.partition(":")
    found = hashlib.new(kind, read_bytes(file).replace(b"\r\n", b"\n")).hexdigest()
    if found != expected:
        raise UserError(
            f"{file} is truncated or not {what}: its {kind} starts with {found[:12]}, not {expected[:12]}; delete it to "
            "download it again, or restore it"
        )


def read_index_file(file: Path) -> IndexFile:
    """Parses a text index file; accepts Windows line endings and a byte order mark, and keeps non-UTF-8 bytes.

    Labels are separated by a space, a tab or a comma; with the latter two the first line may be a header.

    Raises:
        UserError: the file cannot be read, or a line is malformed.
    """
    text = read_bytes(file).decode("utf-8-sig", errors="surrogateescape").replace("\r\n", "\n").rstrip("\n")
    lines = text.split("\n") if text else []
    separator = next(filter(None, map(_separator, lines[:2])), " ")
    header = len(lines) > 1 and separator != " " and not _separator(lines[0])
    first = 2 if header else 1
    lines = lines[first - 1 :]
    parts = [line.rpartition(separator) for line in lines]
    names = [name for name, _, _ in parts]
    numbers = [number for _, _, number in parts]
    if "" in names or "" in numbers:
        i = next(i for i, (name, _, number) in enumerate(parts) if not (name and number))
        raise UserError(f"{file}, line {i + first} is not `relative/path label`: {printable(lines[i])!r}")
    if lines and not _whole("".join(numbers)):
        i = next(i for i, number in enumerate(numbers) if not _whole(number))
        raise UserError(f"{file}, line {i + first}: the label {printable(numbers[i])!r} is not an integer >= 0")
    try:
        labels = np.array(list(map(int, numbers)), dtype=np.int64)
    except (OverflowError, ValueError):  # ValueError: thousands of digits
        raise UserError(f"{file} has a label that is too large; correct it") from None
    return IndexFile(names, labels, file, first=first)


def check_index_file(index_file: IndexFile, classes: int | None) -> None:
    """Validates one index file.

    Raises:
        UserError: the list is empty, a path leaves the image folder, an image is repeated, or a label is not below `classes`
            (None: unknown).
    """
    names, labels = index_file.names, index_file.labels
    if not names:
        raise UserError(f"{index_file.file} is empty; restore it")
    text = "\n".join(["", *names, ""])
    foreign = any(suspect in text for suspect in SUSPECTS) and next(filter(FOREIGN_PATH.search, names), None)
    if foreign:
        i = names.index(foreign)
        raise UserError(
            f"{index_file.at(i)}: {printable(names[i])!r} is not a relative path below the image folder with `/` separators"
        )
    if len(set(names)) < len(names):
        first: dict[str, int] = {}
        i = next(i for i, name in enumerate(names) if first.setdefault(name, i) != i)
        raise UserError(
            f"{index_file.at(i)} duplicates {printable(names[i])} of {index_file.unit} {first[names[i]] + index_file.first}; "
            "correct the list"
        )
    if classes is not None and labels.max() >= classes:
        i = int(np.argmax(labels >= classes))
        raise UserError(f"{index_file.at(i)}: label {labels[i]} is out of range; valid labels are 0 to {classes - 1}")


def check_classes(index_file: IndexFile, classes: int) -> None:
    """Raises UserError if a class below `classes` has no image."""
    if lacking := classes_without_images(index_file, classes):
        raise UserError(f"{lacking}; correct the list")


def classes_without_images(index_file: IndexFile, classes: int) -> str:
    """A clause that names the first classes below `classes` without an image; empty if all have one."""
    empty = np.flatnonzero(np.bincount(index_file.labels, minlength=classes) == 0).tolist()
    if not empty:
        return ""
    return f"{index_file.file} has no image of class {listed(map(str, empty), NAMED)}, of classes 0 to {classes - 1}"


def merge_index_files(index_files: Sequence[IndexFile]) -> tuple[list[str], Indices, list[Indices]]:
    """Merges several index files into one table of distinct images.

    Returns:
        Distinct paths in order of first occurrence, their labels, and per index file the indices into them.

    Raises:
        UserError: a path has two different labels.
    """
    place: dict[str, int] = {}
    positions = [
        np.fromiter((place.setdefault(name, len(place)) for name in file.names), np.int64, len(file.names))
        for file in index_files
    ]
    labels = np.full(len(place), -1, dtype=np.int64)
    for index_file, here in zip(index_files, positions, strict=True):
        other = (labels[here] >= 0) & (labels[here] != index_file.labels)
        if other.any():
            i = int(np.argmax(other))
            raise UserError(
                f"{index_file.at(i)}: {printable(index_file.names[i])} has label {index_file.labels[i]}, but "
                f"{labels[here[i]]} in another index file; correct one of them"
            )
        labels[here] = index_file.labels
    return list(place), labels, positions


def _separator(line: str) -> str:
    """The character before the label of a line; empty if it has no label."""
    return next((sign for sign in " \t," if line.rpartition(sign)[0] and _whole(line.rpartition(sign)[2])), "")


def _whole(number: str) -> bool:
    return number.isdecimal() and number.isascii()


def read_bytes(file: Path) -> bytes:
    """Reads an index file. Raises UserError if that fails."""
    try:
        return core.files.read_bytes(file)
    except OSError as error:
        raise UserError(f"{file} cannot be read ({error.strerror or first_line(error)}); restore it") from error
