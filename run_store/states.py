"""States of the runs in a folder of runs, read from their files without torch; other processes may write them."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, TypedDict

import msgspec

from core.files import read_bytes, read_text, write_json
from core.schema import InvalidData, decode, read_json
from run_store.layout import CHECKPOINT, CONFIG, DONE, ERROR, GRID, PREVIOUS_CHECKPOINT, RESULTS, TRAINING, WEIGHTS
from run_store.lease import FoundLease, current_lease, file_clock

State = Literal["DONE", "RUNNING", "RESUMABLE", "DAMAGED", "FAILED", "NEW"]

_FolderName = Annotated[str, msgspec.Meta(pattern=r"^(?!\.)[!-.0-~]{1,255}\Z")]  # one that file systems accept, within `out`


class _Grid(TypedDict):
    """Content of `grid.json`."""

    runs: dict[_FolderName, list[str]]  # probes by name of the run folder


class _Config(TypedDict):
    """What is read of `config.json` of a run."""

    method: str
    hparams: dict[str, object]
    recipe: dict[str, object]


class _Record(TypedDict):
    """What is read of a record."""

    probe: str


class _Facts(TypedDict):
    """What is read of `training.json`."""

    seconds: float


@dataclass(frozen=True)
class RunStatus:
    """State of a run, and the process that executes it."""

    name: str  # of its folder
    state: State
    lease: FoundLease | None  # of a RUNNING run
    reason: str  # last line of the error of a FAILED run, else empty
    seconds: float | None  # of training, of a DONE run


def run_state(folder: Path, done: bool) -> State:
    """State of a run, the first that applies.

    DONE: `done`, that is, trained, with a record of each requested probe. RUNNING: a process has a lease on it. FAILED: the
    last attempt ended with an error. RESUMABLE: there is a checkpoint or weights. NEW: else.
    """
    return _state(folder, done, current_lease(folder))


def is_trained(folder: Path) -> bool:
    """Whether the training of a run is complete."""
    return (folder / WEIGHTS).exists() and (folder / TRAINING).exists()


def failure(folder: Path) -> tuple[str, float] | None:
    """Last line of the error of a failed run, and the time of its failure by `file_clock`; None if there is no error."""
    file = folder / ERROR
    try:
        lines, when = read_text(file).strip().splitlines(), file.stat().st_mtime
    except OSError:
        return None
    return (lines[-1] if lines else "unknown error"), when


def save_grid(out: Path, runs: Mapping[str, list[str]]) -> None:
    """Writes the names of the folders of a grid and the probes of each, so that `statuses` includes runs without a folder."""
    write_json(out / GRID, _Grid(runs=dict(runs)))


def statuses(out: Path) -> list[RunStatus]:
    """Statuses of the runs of the last grid that was started in a folder, in its order, then of all other runs there.

    Raises:
        UserError: `grid.json` is damaged.
    """
    file = out / GRID
    runs = read_json(file, _Grid, "delete it")["runs"] if file.exists() else {}
    others = sorted(folder.name for folder in out.iterdir() if folder.name not in runs and _is_run(folder))
    now = file_clock(out)
    return [_status(out / name, runs.get(name, ()), now) for name in [*runs, *others]]


def _is_run(folder: Path) -> bool:
    """Whether a folder is of a training run; those of external pretrained weights have a configuration of another type."""
    try:
        decode(read_bytes(folder / CONFIG), _Config)
    except (OSError, InvalidData):
        return False
    return True


def _status(folder: Path, probes: Iterable[str], now: float) -> RunStatus:
    lease, failed = current_lease(folder, now), failure(folder)
    state = _state(folder, is_trained(folder) and (folder / DONE).exists() and _recorded(folder).issuperset(probes), lease)
    return RunStatus(
        name=folder.name,
        state=state,
        lease=lease if state == "RUNNING" else None,
        reason=failed[0] if failed and state == "FAILED" else "",
        seconds=_seconds(folder) if state == "DONE" else None,
    )


def _state(folder: Path, done: bool, lease: FoundLease | None) -> State:
    if done:
        return "DONE"
    if lease is not None and lease.running:
        return "RUNNING"
    if (folder / ERROR).exists():
        return "FAILED"
    if is_trained(folder) or (folder / CHECKPOINT).exists() or (folder / PREVIOUS_CHECKPOINT).exists():
        return "RESUMABLE"
    return "NEW"


def _recorded(folder: Path) -> set[str]:
    """Probes in `results.jsonl`, whose records are not verified: `records` imports torch."""
    probes = set()
    with suppress(OSError):
        for line in read_bytes(folder / RESULTS).splitlines():
            with suppress(InvalidData):
                probes.add(decode(line, _Record)["probe"])
    return probes


def _seconds(folder: Path) -> float | None:
    """Seconds of training; None if the file is damaged."""
    try:
        return read_json(folder / TRAINING, _Facts, "")["seconds"]
    except InvalidData:
        return None
