"""The record: one object per probe of a run, one JSON line in the run's `results.jsonl`."""

import json
import logging
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from core.errors import UserError

log = logging.getLogger(__name__)

FORMAT = 3
RESULTS = "results.jsonl"


@dataclass(frozen=True)
class Record:
    """What one probe of one run found, with all that is needed to print the number honestly. Accuracies in per cent."""

    run_id: str  # hash of the resolved configuration
    method: str
    hparams: dict[str, Any]  # of the method
    dataset: str
    profile: str
    split: int
    official_split: bool  # whether the split is its profile's source's, or this suite's
    data: str  # the line that the passports of all splits of the profile share
    passport: str  # short hash of the split's passport
    seed: int
    backbone: str
    preset: str
    recipe: dict[str, Any]  # optimisation and scale, of which the next two are part
    epochs: int
    batch_size: int
    precision: str
    executor: str  # what made the views
    probe: str
    protocol: str  # the probe in one line
    chosen: str  # what the probe chose on validation
    val_accuracy: float | None
    val_class_accuracy: list[float] | None  # on the validation images, by class, for choices between runs
    class_accuracy: list[float]  # on the test images, by class
    class_counts: list[int]  # images per class in the pretraining set
    mean: float
    many: float
    medium: float
    few: float
    group_std: float  # of many, medium, few; ddof 0
    class_std: float  # over classes; ddof 0
    group_sizes: list[int]  # classes in many, medium, few
    grouping: str  # rule of the groups
    n_pretrain: int
    unreadable: int  # pictures of the pretraining set, and of a pool, that were left out of training
    n_train: int
    n_val: int
    n_test: int
    pretrain_sha256: str  # of the index list
    pool: str | None  # images from elsewhere that the method drew on, with their number and hash
    tail_auroc: float | None  # of the last tail scores against "the class is in the few group"
    tail_spearman: float | None  # rank correlation of the last tail scores with the rarity of the class
    train_seconds: float
    probe_seconds: float
    images_per_second: float | None  # source images of training; None where nothing was trained
    peak_memory_mb: float | None  # of training: on the GPU, or of the process
    device: str
    versions: dict[str, str]
    format: int = FORMAT

    def to_line(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self))


def read_records(files: Iterable[Path]) -> list[Record]:
    """Reads all records of the given `results.jsonl` files.

    Lines that are damaged or of another format are skipped and counted in a warning. Where a run has several records of one
    probe, the last counts.
    """
    known = {field.name for field in fields(Record)}
    records: dict[tuple[str, str], Record] = {}
    skipped = 0
    for file in files:
        for line in _read(file).splitlines():
            try:
                content = json.loads(line)
            except ValueError:
                content = None
            if not isinstance(content, dict) or content.get("format") != FORMAT or set(content) != known:
                skipped += 1
                continue
            record = Record(**content)
            records[record.run_id, record.probe] = record
    if skipped:
        log.warning("skipped %d damaged or foreign lines of the records", skipped)
    return list(records.values())


def _read(file: Path) -> str:
    try:
        return file.read_text(errors="replace")
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror}; mend it, or move the run's folder away") from error
