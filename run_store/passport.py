"""`passport.json` in a run folder: identity of the data that the run was trained and probed on.

Earlier versions wrote `passport.txt`. Only the hash in its first line is read: if the current data has the same hash,
`passport.json` is added.
"""

import re
from pathlib import Path
from typing import Any

from core.errors import UserError
from core.files import read_bytes, read_text, write_json
from core.schema import InvalidData, damaged, decode
from data.passport import Passport
from run_store.layout import PASSPORT

OLD_PASSPORT = "passport.txt"


def read_passport(folder: Path) -> Passport | None:
    """Reads the passport in a folder; returns None if it does not exist.

    Raises:
        UserError: it is damaged, or only `passport.txt` of an earlier version exists.
    """
    file = folder / PASSPORT
    if not file.exists():
        if (folder / OLD_PASSPORT).exists():
            raise UserError(
                f"{folder} was written by an earlier version of this suite, without {PASSPORT}; repeat its `run` "
                "command, which adds the file without training"
            )
        return None
    try:
        return Passport.from_json(decode(read_bytes(file), dict[str, Any]))
    except (OSError, InvalidData) as error:
        raise damaged(file, error, f"restore it, or delete {folder} to train this run again") from error


def write_passport(folder: Path, passport: Passport) -> None:
    """Writes `passport.json` atomically."""
    write_json(folder / PASSPORT, passport.to_json())


def upgrade_passport(folder: Path, passport: Passport) -> None:
    """Writes `passport.json` into a folder of an earlier version, if its `passport.txt` has the hash of `passport`.

    Raises:
        UserError: the hashes differ.
    """
    old = folder / OLD_PASSPORT
    if (folder / PASSPORT).exists() or not old.exists():
        return
    try:
        found = re.match(r"PASSPORT (\w+):", read_text(old))
    except OSError as error:
        raise damaged(old, error, f"restore it, or delete {folder} to train again") from error
    if found is None or found[1] != passport.short:
        kept = found[1] if found else "unreadable"
        raise UserError(
            f"{folder} was trained or probed by an earlier version on other data (passport {kept}) than the current "
            f"({passport.short}); restore that data, or delete the folder to train again"
        )
    write_passport(folder, passport)
