"""Metadata of Hugging Face's `imagefolder`: `metadata.csv` or `metadata.jsonl` with the columns `file_name` and `label`."""

import csv
from collections import Counter
from io import StringIO
from pathlib import Path
from typing import NotRequired, TypedDict

from core.errors import UserError
from core.schema import InvalidData, decode
from core.words import counted, listed
from data.lists.index_file import read_bytes

METADATA = ("metadata.csv", "metadata.jsonl")


class _Row(TypedDict):
    """A line of `metadata.jsonl`, as far as it is read."""

    file_name: str
    label: NotRequired[str | int]


def read_metadata(folder: Path) -> tuple[Path, list[tuple[str, str]]] | None:
    """Reads the metadata file of a folder; returns it and (file name, label) of each row, or None without file or labels.

    Raises:
        UserError: there are two files, or it cannot be read or names an image twice.
    """
    files = [folder / name for name in METADATA if (folder / name).is_file()]
    if len(files) > 1:
        raise UserError(f"{folder} has {' and '.join(METADATA)}; keep one of them")
    if not files:
        return None
    (file,) = files
    rows = csv_rows(file) if file.suffix == ".csv" else json_rows(file)
    if rows is None:
        return None
    if twice := [name for name, count in Counter(name for name, _ in rows).items() if count > 1]:
        raise UserError(f"{file} names {counted(len(twice), 'image')} more than once: {listed(sorted(twice))}; correct it")
    return file, rows


def csv_rows(file: Path) -> list[tuple[str, str]] | None:
    """Reads (file name, label) of each row; None without a column of labels. Raises UserError for other content."""
    try:
        text = read_bytes(file).decode("utf-8-sig", errors="surrogateescape")
        rows = list(csv.reader(StringIO(text, newline=""), strict=True))
    except csv.Error as error:
        raise UserError(f"{file} is not a CSV file ({error}); correct it") from error
    head = rows[0] if rows else []
    if "file_name" not in head:
        raise UserError(f"{file} has no column file_name; add it, or remove the file to use class folders")
    if "label" not in head:
        return None
    columns = head.index("file_name"), head.index("label")
    found = []
    for number, row in enumerate(rows[1:], start=2):
        if not row:
            continue
        if len(row) != len(head):
            raise UserError(f"{file}, row {number} has {counted(len(row), 'value')}, not {len(head)}; correct it")
        name, label = (row[column] for column in columns)
        _check_row(file, number, name, label)
        found.append((name, label))
    return found


def json_rows(file: Path) -> list[tuple[str, str]] | None:
    """Reads (file name, label) of each line; None if no line has a label. Raises UserError for other content."""
    found, unlabelled = [], []
    for number, line in enumerate(read_bytes(file).splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = decode(line, _Row)
        except InvalidData as error:
            raise UserError(f"{file}, line {number} has no file_name and label ({error}); correct it") from error
        if "label" not in row:
            unlabelled.append(number)
            continue
        _check_row(file, number, row["file_name"], str(row["label"]))
        found.append((row["file_name"], str(row["label"])))
    if unlabelled and found:
        raise UserError(f"{file}, line {unlabelled[0]} has no label; add it")
    return found or None


def _check_row(file: Path, number: int, name: str, label: str) -> None:
    if not (name and label.strip()):
        raise UserError(f"{file}, row {number} has an empty file_name or label: {name!r}, {label!r}; correct it")
