"""Files of tables: readable names, one folder per benchmark, and removal of files of earlier reports."""

from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypedDict

from core.errors import UserError
from core.schema import read_json
from reports import captions
from reports.comparable import safe_name, short_hash
from reports.tables.table import Table

META = "meta.json"  # suffix of a table's metadata
SETTINGS = ("variant", "mark", "preset", "epochs")  # what a name gets if tables of several settings would share it


class Metadata(TypedDict):
    """Fields that together identify a metadata file of this suite."""

    title: str
    caption: str
    details: str
    run_ids: list[list[str]]


def file_names(tables: Sequence[Table]) -> list[str]:
    """Distinct paths of tables within the folder of tables, without suffix, such as `cifar10lt/linear-probe`.

    The folder is the benchmark; a table over several benchmarks is in none. Tables that would share a path get the settings in
    which they differ (variant, mark, preset, epochs), and a hash if that is not enough. Letter case does not distinguish files.
    """
    names = [_path(table) for table in tables]
    for settings in (SETTINGS, ("name",)):
        sharing: dict[str, list[Table]] = {}
        for table, name in zip(tables, names, strict=True):
            sharing.setdefault(name.lower(), []).append(table)
        names = [
            "-".join([name, *_differing(table, sharing[name.lower()], settings)])
            for table, name in zip(tables, names, strict=True)
        ]
    return names


def remove_others(folder: Path, kept: Collection[Path], suffixes: Collection[str]) -> None:
    """Removes the tables of earlier reports from `folder` and its subfolders; files of other origin stay.

    A table of an earlier report is recognised by its metadata file.

    Args:
        folder: folder of tables.
        kept: tables of this report, paths without suffix.
        suffixes: of the files of a table, metadata aside.
    """
    for pattern in (f"*.{META}", f"*/*.{META}"):
        for meta in folder.glob(pattern):
            stem = meta.with_name(meta.name.removesuffix(f".{META}"))
            if stem in kept or meta.parent.is_symlink() or not _is_metadata(meta):
                continue
            for suffix in (*suffixes, META):  # metadata last: they identify the files until these are removed
                stem.with_name(f"{stem.name}.{suffix}").unlink(missing_ok=True)
            if meta.parent != folder:
                with suppress(OSError):  # not empty
                    meta.parent.rmdir()


def _is_metadata(path: Path) -> bool:
    try:
        read_json(path, Metadata, "")
    except UserError:
        return False
    return True


def _path(table: Table) -> str:
    return "/".join(filter(None, [_file_name(table.shared("dataset")), _file_name(table.file or table.name)]))


def _differing(table: Table, others: Sequence[Table], settings: Sequence[str]) -> list[str]:
    """The table's values of those settings in which the tables differ."""
    differing = [key for key in settings if len({_setting(other, key) for other in others}) > 1]
    return list(filter(None, (_file_name(_setting(table, key)) for key in differing)))


def _setting(table: Table, key: str) -> str:
    if key == "name":
        return short_hash(table.name)
    value = table.shared(key)
    return captions.epochs(value) if key == "epochs" else str(value).replace("=", "")


def _file_name(text: str) -> str:
    """`safe_name` without dots at the start, which would hide a file or leave the folder."""
    return safe_name(text).lstrip(".-")
