"""Index lists as files name them: a line `relative/path label` an image, read at once and checked.

115,846 lines take 0.2 s, checks included, and the 1,281,167 of all ImageNet 2 s, so nothing is cached (`benchmarks/lists.py`).
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.errors import UserError, first_line
from data.lists.longtail import Indices

# what a relative path in its one spelling never has: a root or a drive, `.`, `..` or nothing between slashes, a backslash
FOREIGN_PATH = re.compile(r"^[A-Za-z]:|(?:^|/)\.{0,2}(?:/|$)|[\\\0]")
SUSPECTS = ("\n/", "//", "/\n", "\n.", "/.", "\n\n", ":", "\\", "\0")  # a text with such a path has one: looked for first


@dataclass(frozen=True)
class Listing:
    """One index list: images by their paths below a folder of images, and their classes."""

    names: list[str]  # relative paths in POSIX form; bytes that are no UTF-8 as surrogates, as `os.fsdecode` gives them
    labels: Indices  # (N,)
    file: Path  # where it stands
    unit: str = "line"  # what the images are counted by in messages

    def at(self, position: int) -> str:
        """Where the image at `position` stands, for messages."""
        return f"{self.file}, {self.unit} {position + 1}"

    def sha256(self) -> str:
        """SHA-256 of paths and labels, whatever the file's form and line ends."""
        return sha256_of(self.names, self.labels)


def sha256_of(names: Sequence[str], labels: Indices) -> str:
    """SHA-256, in hexadecimal, of paths and their labels in their order."""
    digest = hashlib.sha256("\n".join(names).encode(errors="surrogateescape"))
    digest.update(np.ascontiguousarray(labels, dtype="<i8").tobytes())
    return digest.hexdigest()


def check_sum(file: Path, known: str, what: str) -> None:
    """Raises UserError where a list in text form has not the sum `known`, `sha256:...` or `md5:...`, line ends aside.

    Args:
        file: the list.
        known: its published sum.
        what: what it should be, for the message.
    """
    kind, _, expected = known.partition(":")
    found = hashlib.new(kind, read_bytes(file).replace(b"\r\n", b"\n")).hexdigest()
    if found != expected:
        raise UserError(
            f"{file} is truncated or not {what}: its {kind} begins with {found[:12]}, not {expected[:12]}; delete it to fetch "
            "it again, or restore it"
        )


def read_lines(file: Path) -> Listing:
    """Reads a list in text form; Windows line ends and a byte order mark are taken, and bytes that are no UTF-8 are kept.

    Raises:
        UserError: the file cannot be read, or a line is not of the form, by its number.
    """
    text = read_bytes(file).decode("utf-8-sig", errors="surrogateescape").replace("\r\n", "\n").rstrip("\n")
    lines = text.split("\n") if text else []
    parts = [line.rpartition(" ") for line in lines]
    names = [name for name, _, _ in parts]
    numbers = [number for _, _, number in parts]
    if "" in names or "" in numbers:
        i = next(i for i, (name, _, number) in enumerate(parts) if not (name and number))
        raise UserError(f"{file}, line {i + 1} is not of the form `relative/path label`: {printable(lines[i])!r}")
    if lines and not _whole("".join(numbers)):
        i = next(i for i, number in enumerate(numbers) if not _whole(number))
        raise UserError(f"{file}, line {i + 1}: the label {printable(numbers[i])} is not a whole number from 0 on")
    try:
        labels = np.array(list(map(int, numbers)), dtype=np.int64)
    except (OverflowError, ValueError):  # the latter for thousands of digits
        raise UserError(f"{file} has a label too large for a class number; correct it") from None
    return Listing(names, labels, file)


def check_listing(listing: Listing, classes: int | None) -> None:
    """Raises UserError, naming file and line, for a list that is empty, leads out of the folder, repeats an image, or has a
    label that is not below `classes` (where that is known).
    """
    names, labels = listing.names, listing.labels
    if not names:
        raise UserError(f"{listing.file} names no image; restore it")
    together = "\n".join(["", *names, ""])
    foreign = any(suspect in together for suspect in SUSPECTS) and next(filter(FOREIGN_PATH.search, names), None)
    if foreign:
        i = names.index(foreign)
        raise UserError(f"{listing.at(i)}: {printable(names[i])!r} is not a path below the folder of images, written with `/`")
    if len(set(names)) < len(names):
        first: dict[str, int] = {}
        i = next(i for i, name in enumerate(names) if first.setdefault(name, i) != i)
        raise UserError(
            f"{listing.at(i)} repeats {printable(names[i])} of {listing.unit} {first[names[i]] + 1}; correct the list"
        )
    if classes is not None and labels.max() >= classes:
        i = int(np.argmax(labels >= classes))
        raise UserError(f"{listing.at(i)}: label {labels[i]} is out of range; the classes are 0 to {classes - 1}")


def check_classes(listing: Listing, classes: int) -> None:
    """Raises UserError where a class below `classes` has no image in the list."""
    empty = np.flatnonzero(np.bincount(listing.labels, minlength=classes) == 0)
    if len(empty):
        more = f" and {len(empty) - 1} more" if len(empty) > 1 else ""
        raise UserError(
            f"{listing.file} has no image of class {empty[0]}{more}, of classes 0 to {classes - 1}; correct the list"
        )


def index(listings: Sequence[Listing]) -> tuple[list[str], Indices, list[Indices]]:
    """One table of the images of several lists.

    Returns:
        The distinct paths in the order of their first appearance, their labels, and for each list its positions among them.

    Raises:
        UserError: a path has two labels.
    """
    place: dict[str, int] = {}
    positions = [
        np.fromiter((place.setdefault(name, len(place)) for name in listing.names), np.int64, len(listing.names))
        for listing in listings
    ]
    labels = np.full(len(place), -1, dtype=np.int64)
    for listing, here in zip(listings, positions, strict=True):
        other = (labels[here] >= 0) & (labels[here] != listing.labels)
        if other.any():
            i = int(np.argmax(other))
            raise UserError(
                f"{listing.at(i)}: {printable(listing.names[i])} has label {listing.labels[i]}, but {labels[here[i]]} in "
                "another list; correct one of them"
            )
        labels[here] = listing.labels
    return list(place), labels, positions


def _whole(number: str) -> bool:
    return number.isdecimal() and number.isascii()


def read_bytes(file: Path) -> bytes:
    """The content of a list. Raises UserError where it cannot be read."""
    try:
        return file.read_bytes()
    except OSError as error:
        raise UserError(f"{file} cannot be read ({error.strerror or first_line(error)}); restore it") from error


def printable(text: str) -> str:
    """A path as any terminal can print it."""
    return text.encode(errors="backslashreplace").decode()


def some(names: Iterable[str], shown: int = 3) -> str:
    """The first few of many names, for messages."""
    names = list(names)
    return ", ".join(map(printable, names[:shown])) + (", ..." if len(names) > shown else "")
