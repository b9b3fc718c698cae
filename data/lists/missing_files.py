"""Finds missing files of a long list by scanning each folder and tar archive once: faster than one `stat` per file."""

import os
from collections.abc import Collection, Iterable
from pathlib import Path

from core.errors import UserError
from data.tar_members import members, split


def missing_files(root: Path, names: Iterable[str]) -> list[str]:
    """Returns those of `names`, paths relative to `root`, that are neither files nor members of tar archives, in order.

    Raises:
        UserError: a folder or an archive cannot be read.
    """
    existing: dict[str, Collection[str]] = {}
    missing = []
    for name in names:
        member = split(f"{root}/{name}") if ".tar/" in name else None
        folder, _, file = name.rpartition("/") if member is None else (member[0], "", member[1])
        entries = existing.get(folder)
        if entries is None:
            entries = existing[folder] = _entries(root / folder) if member is None else _members(folder)
        if file not in entries:
            missing.append(name)
    return missing


def _members(archive: str) -> Collection[str]:
    return members(archive) if os.path.isfile(archive) else ()


def _entries(folder: Path) -> frozenset[str]:
    try:
        with os.scandir(folder) as entries:
            return frozenset(entry.name for entry in entries if entry.is_file())  # needs no `stat` except for links
    except (FileNotFoundError, NotADirectoryError):
        return frozenset()
    except OSError as error:
        raise UserError(f"the folder {folder} cannot be read ({error.strerror or error}); check its permissions") from error
