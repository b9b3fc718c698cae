"""Which files of a long list are not there, found by reading each folder once in place of asking for each file."""

import os
from collections.abc import Iterable
from pathlib import Path

from core.errors import UserError


def missing_files(root: Path, names: Iterable[str]) -> list[str]:
    """Those of `names`, paths below `root`, that are no files there; in their order.

    Raises:
        UserError: a folder may not be read.
    """
    there: dict[str, frozenset[str]] = {}
    missing = []
    for name in names:
        folder, _, file = name.rpartition("/")
        entries = there.get(folder)
        if entries is None:
            entries = there[folder] = _entries(root / folder)
        if file not in entries:
            missing.append(name)
    return missing


def _entries(folder: Path) -> frozenset[str]:
    try:
        with os.scandir(folder) as entries:
            return frozenset(entry.name for entry in entries if entry.is_file())  # asks the disk about links alone
    except (FileNotFoundError, NotADirectoryError):
        return frozenset()
    except OSError as error:
        raise UserError(
            f"the folder {folder} cannot be read ({error.strerror or error}); give yourself access to it"
        ) from error
