"""Training histories: the log of a run, `log.jsonl`, as one array per quantity."""

import json
import logging
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import UserError
from run_store.contents import run_id_of
from run_store.layout import LOG

log = logging.getLogger(__name__)

GROUPS = ("many", "medium", "few")
Column = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Sampling:
    """COLT's last sampling of OOD images, by cluster of the training images; columns of equal length."""

    images: Column  # training images of the cluster
    few: Column  # fraction of them whose class is in the few group, in [0, 1]
    sampled: Column  # OOD images sampled for the cluster
    tailness: Column  # tailness score, standardised over the clusters; higher for the tail


@dataclass(frozen=True, eq=False)
class History:
    """Log of one run as (E,) columns over epochs, NaN for missing values."""

    folder: Path
    run_id: str  # hash of the resolved configuration, as in the run's records
    damaged: int  # lines that could not be read
    epoch: NDArray[np.int64]  # from 1, ascending
    loss: Column
    lr: Column
    images_per_second: Column
    auroc: Column  # of the tail scores against "the class is in the few group"
    groups: Mapping[str, Column] = field(default_factory=dict)  # (E, 3) means of per-image state over many, medium, few
    sampling: Sampling | None = None  # last one in the log

    @property
    def missing(self) -> list[int]:
        """Epochs before the last one that have no line."""
        return sorted(set(range(1, int(self.epoch.max(initial=0)))) - set(self.epoch.tolist()))


def read_histories(folders: Iterable[Path]) -> list[History]:
    """Reads the logs of run folders; folders without a log are skipped.

    Warnings count damaged lines, which are skipped, and name logs that lack epochs. Raises UserError if a file cannot be read.
    """
    histories = [read_history(folder) for folder in folders if (folder / LOG).exists()]
    damaged = sum(history.damaged for history in histories)
    if damaged:
        log.warning("skipped %d damaged lines in training logs", damaged)
    for history in histories:
        if missing := history.missing:
            log.warning("%s lacks %d epochs, the first is %d", history.folder / LOG, len(missing), missing[0])
    return histories


def read_history(folder: Path) -> History:
    """Reads the log of one run folder; without a log, the history has no epochs.

    If an epoch has several lines, the last one is used.

    Raises:
        UserError: the log cannot be read.
    """
    lines: dict[int, dict[str, Any]] = {}
    damaged, sampling = 0, None
    for text in _read(folder / LOG).splitlines():
        try:
            line = _line(json.loads(text))
        except (ValueError, TypeError, OverflowError, RecursionError):
            damaged += 1
            continue
        lines[line["epoch"]] = line
    ordered = [lines[epoch] for epoch in sorted(lines)]
    for line in ordered:
        sampling = line["sampling"] or sampling
    names = sorted({name for line in ordered for name in line["groups"]})
    empty = (math.nan,) * len(GROUPS)
    return History(
        folder=folder,
        run_id=run_id_of(folder),
        damaged=damaged,
        epoch=np.array([line["epoch"] for line in ordered], dtype=np.int64),
        **{name: _column([line[name] for line in ordered]) for name in ("loss", "lr", "images_per_second", "auroc")},
        groups={
            name: _column([line["groups"].get(name, empty) for line in ordered]).reshape(-1, len(GROUPS)) for name in names
        },
        sampling=sampling,
    )


def _line(content: Any) -> dict[str, Any]:
    """Extracts the values of one line. Raises ValueError or TypeError for an invalid line."""
    if not isinstance(content, dict):
        raise TypeError("not a JSON object")
    epoch = content.get("epoch")
    if type(epoch) is not int or not 1 <= epoch < 2**31:
        raise ValueError("invalid epoch")
    values = {name: _number(content.get(name)) for name in ("loss", "lr", "images_per_second")}
    tail = content.get("tail")
    auroc = _number(tail.get("auroc")) if isinstance(tail, dict) else math.nan
    groups = {
        name: tuple(_number(value[group]) for group in GROUPS)
        for name, value in content.items()
        if isinstance(value, dict) and set(value) == set(GROUPS)
    }
    return {"epoch": epoch, **values, "auroc": auroc, "groups": groups, "sampling": _sampling(content)}


def _sampling(content: Mapping[str, Any]) -> Sampling | None:
    found = content.get("sampling")
    if found is None:
        return None
    columns = {
        name: _column([_number(value) for value in found[name]]) for name in Sampling.__dataclass_fields__ if name in found
    }
    if len(columns) != len(Sampling.__dataclass_fields__) or len({len(column) for column in columns.values()}) != 1:
        raise ValueError("columns of the sampling are missing or of unequal length")
    return Sampling(**columns)


def _number(value: Any) -> float:
    """Converts a number to float, None to NaN. Raises TypeError for anything else."""
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError("not a number")
    return float(value)


def _column(values: Any) -> Column:
    return np.array(values, dtype=np.float64)


def _read(file: Path) -> str:
    if not file.exists():
        return ""
    try:
        return file.read_text(errors="replace")
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror}; repair it, or move the run folder elsewhere") from error
