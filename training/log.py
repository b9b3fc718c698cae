"""The log of a run: one JSON line per epoch."""

import logging
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any

import msgspec

from core.errors import UserError
from core.files import append_line, read_bytes, write_atomic
from core.schema import InvalidData, decode, encode

log = logging.getLogger(__name__)


class TailDetection(msgspec.Struct, frozen=True):
    """Quality of the tail scores, from `eval.tail.tail_detection`."""

    auroc: float | None = None
    spearman: float | None = None


class SampledClusters(msgspec.Struct, frozen=True):
    """COLT's sampling of OOD images, by cluster of the training images, from `eval.tail.describe_state`."""

    images: list[float]  # training images of the cluster
    few: list[float]  # fraction of them whose class is in the few group, in [0, 1]
    sampled: list[float]  # OOD images sampled for the cluster
    tailness: list[float]  # tailness score, standardised over the clusters; higher for the tail

    def __post_init__(self) -> None:
        if len({len(self.images), len(self.few), len(self.sampled), len(self.tailness)}) != 1:
            raise ValueError("columns of unequal length")


class GroupValues(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Means of a per-image quantity of a method over the groups of classes; None for an empty group."""

    many: float | None
    medium: float | None
    few: float | None


class CollapseMeasures(msgspec.Struct, frozen=True):
    """Result of `training.collapse.measure`; None for what is not finite."""

    feature_std: float | None
    effective_rank: float | None
    embedding_std: float | None
    embedding_rank: float | None
    weight_change: float | None


class LogLine(msgspec.Struct, frozen=True):
    """Fields of a line that are the same for all methods."""

    epoch: Annotated[int, msgspec.Meta(ge=1, lt=2**31)]
    loss: float | None = None  # mean over the images
    lr: float | None = None  # at the end of the epoch
    images_per_second: float | None = None
    tail: TailDetection = TailDetection()
    sampling: SampledClusters | None = None
    collapse: CollapseMeasures | None = None


def append_epoch(file: Path, line: dict[str, Any]) -> None:
    """Appends a line and syncs it to disk, before a checkpoint that is past this epoch; not finite values become null."""
    append_line(file, encode(line).decode())


def log_lines(file: Path) -> list[bytes]:
    """Lines of a log, none if there is no file. Raises UserError if it cannot be read."""
    try:
        return read_bytes(file).splitlines() if file.exists() else []
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror}; repair it, or move the run folder to another disk") from error


def resume_log(file: Path, completed: int) -> None:
    """Drops the lines after epoch `completed`, and sorts the others by epoch; warns if they are not those of every epoch.

    Lines are lost when a disk was full or a file was edited. The weights do not depend on the log.

    Raises:
        UserError: it cannot be read or written.
    """
    lines, order = {}, []
    for text in log_lines(file):
        try:
            epoch = decode(text, LogLine).epoch
        except InvalidData:
            continue
        if epoch <= completed:
            lines[epoch] = text
            order.append(epoch)
    if order != list(range(1, completed + 1)):
        missing = [epoch for epoch in range(1, completed + 1) if epoch not in lines]
        what = f"lacks epochs ({_ranges(missing)})" if missing else "repeats epochs or has them in another order, out"
        log.warning("%s %s of the %d that are completed; the weights do not depend on it", file, what, completed)
    write_atomic(file, lambda stream: stream.writelines(lines[epoch] + b"\n" for epoch in sorted(lines)))


def _ranges(numbers: list[int]) -> str:
    """Ascending numbers as text, like `1, 3-5`."""
    runs = [[n for _, n in run] for _, run in groupby(enumerate(numbers), lambda item: item[1] - item[0])]
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)
