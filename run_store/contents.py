"""Contents of run folders as text, read without building the run, for the HTML page and lists."""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from core.errors import UserError
from core.files import read_bytes, read_text
from core.schema import InvalidData, decode
from run_store.layout import CONFIG, DONE, ERROR, LOG
from run_store.passport import read_passport
from run_store.states import failure
from training.config import ConfigFile


@dataclass(frozen=True)
class UnfinishedRun:
    """A training run that was started and is not done."""

    status: Literal["unfinished", "failed"]
    reason: str  # last line of the error of a failed run, else empty
    run_id: str
    settings: Mapping[str, Any]  # of its configuration


@dataclass(frozen=True)
class Texts:
    """Files of a run folder as text; empty if missing."""

    log: list[str]  # lines
    config: str
    passport: str
    error: str


def run_folders(out: Path) -> list[Path]:
    """Folders of runs and of external pretrained weights under `out`, sorted by name."""
    return sorted(folder for folder in out.iterdir() if folder.is_dir() and (folder / CONFIG).exists())


def run_id_of(folder: Path) -> str:
    """Run id: the content of `done`, so that folders can be renamed; for an unfinished run, the suffix of the folder name."""
    return _text(folder / DONE).strip() or folder.name.rpartition("-")[2]


def read_unfinished(folder: Path) -> UnfinishedRun | None:
    """Returns the unfinished or failed run in a folder; None if the run is done or the folder is not of a training run."""
    if (folder / DONE).exists():
        return None
    try:
        settings = decode(read_bytes(folder / CONFIG), ConfigFile)
    except (OSError, InvalidData):
        return None
    failed = failure(folder)
    return UnfinishedRun("failed" if failed else "unfinished", failed[0] if failed else "", run_id_of(folder), settings)


def read_texts(folder: Path) -> Texts:
    """Reads log, configuration, passport and error of a run folder as text."""
    config = _text(folder / CONFIG)
    with suppress(InvalidData):  # a damaged file is returned unchanged
        config = json.dumps(decode(config.encode(), dict[str, Any]), indent=1)
    try:
        kept = read_passport(folder)
        passport = kept.text() if kept else ""
    except UserError as error:
        passport = str(error)
    return Texts(_text(folder / LOG).splitlines(), config, passport, _text(folder / ERROR))


def _text(file: Path) -> str:
    try:
        return read_text(file)
    except OSError:
        return ""
