"""Training histories: the log of a run, `log.jsonl`, as one array per quantity."""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from msgspec.structs import astuple
from numpy.typing import NDArray

from core.schema import InvalidData, convert, decode
from core.words import counted
from run_store.contents import run_id_of
from run_store.layout import LOG
from training.log import GroupValues, LogLine, log_lines

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
        log.warning("skipped %s in training logs", counted(damaged, "damaged line"))
    for history in histories:
        if missing := history.missing:
            log.warning("%s lacks %s, the first is %d", history.folder / LOG, counted(len(missing), "epoch"), missing[0])
    return histories


def read_history(folder: Path) -> History:
    """Reads the log of one run folder; without a log, the history has no epochs.

    If an epoch has several lines, the last one is used.

    Raises:
        UserError: the log cannot be read.
    """
    lines: dict[int, tuple[LogLine, dict[str, Column]]] = {}
    damaged = 0
    for text in log_lines(folder / LOG):
        try:
            content = decode(text, dict[str, Any])
            line = convert(content, LogLine)
            lines[line.epoch] = line, _groups(content)
        except InvalidData:
            damaged += 1
    ordered = [lines[epoch] for epoch in sorted(lines)]
    names = sorted({name for _, groups in ordered for name in groups})
    sampled = [line.sampling for line, _ in ordered if line.sampling]
    return History(
        folder=folder,
        run_id=run_id_of(folder),
        damaged=damaged,
        epoch=np.array([line.epoch for line, _ in ordered], dtype=np.int64),
        **{name: _column([getattr(line, name) for line, _ in ordered]) for name in ("loss", "lr", "images_per_second")},
        auroc=_column([line.tail.auroc for line, _ in ordered]),
        groups={
            name: np.reshape([groups.get(name, _column([None] * len(GROUPS))) for _, groups in ordered], (-1, len(GROUPS)))
            for name in names
        },
        sampling=Sampling(*(_column(column) for column in astuple(sampled[-1]))) if sampled else None,
    )


def _groups(content: Mapping[str, Any]) -> dict[str, Column]:
    """The per-image quantities of a method in a line: (3,) means over many, medium, few. Raises InvalidData."""
    return {
        name: _column(astuple(convert(value, GroupValues)))
        for name, value in content.items()
        if isinstance(value, dict) and value.keys() == set(GROUPS)
    }


def _column(values: Any) -> Column:
    """Numbers as an array; None becomes NaN."""
    return np.array(values, dtype=np.float64)
