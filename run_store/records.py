"""Records: one object for each probe of each run, one JSON line each in the run's `results.jsonl`."""

import base64
import json
import logging
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from core.errors import UserError

log = logging.getLogger(__name__)

FORMAT = 4
settings_text = json.JSONEncoder(sort_keys=True).encode  # `json.dumps` would make an encoder for every call


@dataclass(frozen=True, kw_only=True)
class Record:
    """What every record has: which run it is of, on which data, at what cost, and which probe looked at it."""

    kind: ClassVar[str]  # what a line says it is

    run_id: str  # hash of the resolved configuration
    method: str
    hparams: dict[str, Any]  # of the method
    dataset: str
    profile: str
    split: int
    official_split: bool  # whether the split is its profile's source's, or this suite's
    data: str  # the line that the passports of all splits of the profile share
    mark: str  # what file names say of data that only stands for the published, such as "surrogate-order"; else empty
    passport: str  # short hash of the split's passport
    seed: int  # of the run, and of what its probes draw
    backbone: str
    preset: str
    recipe: dict[str, Any]  # optimisation and scale, of which the next two are part
    epochs: int | None  # None, like all that follows of training, for weights from elsewhere
    batch_size: int | None
    precision: str
    executor: str  # augmentation backend
    class_counts: list[int]  # images per class in the pretraining set
    group_counts: list[int]  # images per class that decide the groups: of a balanced twin, those of the long-tailed set
    grouping: str  # rule of the groups
    group_sizes: list[int]  # classes in many, medium, few
    n_pretrain: int
    unreadable: int  # pictures of the pretraining set, and of a pool, that were left out of training
    pretrain_sha256: str  # of the index list
    pool: str | None  # images from elsewhere that the method drew on, with their number and hash
    tail_auroc: float | None  # of the last tail scores against "the class is in the few group"
    tail_spearman: float | None  # rank correlation of the last tail scores with the rarity of the class
    train_seconds: float | None
    images_seen: int | None  # source images of training, those of a pool included
    images_per_second: float | None  # of training; None where nothing was trained
    peak_memory_mb: float | None  # of training: on the GPU, or of the process
    device: str
    versions: dict[str, str]
    probe: str
    protocol: str  # the probe in one line
    probe_seconds: float  # its share of the extraction of features included

    @property
    def extra_images(self) -> int:
        """Images from a pool that training saw beyond the epochs of the pretraining set."""
        return (
            0 if self.images_seen is None or self.epochs is None else max(0, self.images_seen - self.epochs * self.n_pretrain)
        )

    @cached_property
    def hparams_text(self) -> str:
        """The method's settings as JSON that is equal where they are."""
        return settings_text(self.hparams)

    @cached_property
    def recipe_text(self) -> str:
        """The recipe as JSON that is equal where it is."""
        return settings_text(self.recipe)

    def to_line(self) -> str:
        """One line of JSON."""
        return json.dumps({"format": FORMAT, "kind": self.kind, **asdict(self)})


@dataclass(frozen=True, kw_only=True)
class AccuracyRecord(Record):
    """What one probe found of accuracies on the test images, with all that is needed to print them honestly. In per cent."""

    kind = "accuracy"

    chosen: str  # what the probe chose on validation
    val_accuracy: float | None
    val_class_accuracy: list[float] | None  # on the validation images, by class, for choices between runs
    n_train: int
    n_val: int
    n_test: int
    class_accuracy: list[float]  # on the test images, by class; the mean where the probe draws several times
    draw_means: list[float]  # the mean over classes of each draw of labelled images; a single one where nothing is drawn
    test_counts: list[int]  # test images of each class
    correct: str  # `pack`ed: which test images were right in each draw, ordered by class
    curve: list[dict[str, float]] | None  # accuracies by number of labelled images a class, of a probe that varies it
    mean: float
    many: float | None  # None for a group without classes
    medium: float | None
    few: float | None
    group_std: float | None  # of many, medium, few; ddof 0
    head_tail_gap: float | None  # many minus few
    class_std: float  # over classes; ddof 0
    worst: float  # of the worst class
    harmonic_mean: float  # over classes
    other_groups: dict[str, Any]  # grouping, group_sizes, many, medium, few, group_std, head_tail_gap by the other rule


@dataclass(frozen=True, kw_only=True)
class GeometryRecord(Record):
    """The shape of the test images' features, for all and by group (keys all, many, medium, few; None for an empty group)."""

    kind = "geometry"

    n_test: int
    alignment: dict[str, float | None]  # mean squared distance of two views of an image on the unit sphere; lower is tighter
    uniformity: dict[str, float | None]  # log of the mean Gaussian potential of pairs; lower is more evenly spread
    effective_rank: dict[str, float | None]  # exponential of the entropy of the features' normalised singular values


KINDS: dict[str, type[Record]] = {kind.kind: kind for kind in (AccuracyRecord, GeometryRecord)}


def pack(correct: NDArray[np.bool_]) -> str:
    """Which images were right, (D, M), as base64 text of one bit each."""
    return base64.b64encode(np.packbits(correct).tobytes()).decode()


def unpack(text: str, draws: int, images: int) -> NDArray[np.bool_]:
    """The (draws, images) array that was packed."""
    bits = np.frombuffer(base64.b64decode(text), dtype=np.uint8)
    return np.unpackbits(bits, count=draws * images).astype(bool).reshape(draws, images)


def read_records(files: Iterable[Path], *, warn: bool = True) -> list[Record]:
    """Reads all records of the given `results.jsonl` files.

    Lines that are damaged or of another format are skipped, and with `warn` counted in a warning. Where a run has several
    records of one probe, the last counts.
    """
    known = {kind: {field.name for field in fields(form)} | {"format", "kind"} for kind, form in KINDS.items()}
    records: dict[tuple[str, str], Record] = {}
    damaged = older = 0
    for file in files:
        for line in _read(file).splitlines():
            try:
                content = json.loads(line)
            except ValueError:
                content = None
            if not isinstance(content, dict):
                damaged += 1
            elif content.get("format") != FORMAT:
                older += 1
            elif set(content) != known.get(str(content.get("kind"))):
                damaged += 1
            else:
                form = KINDS[content["kind"]]
                record = form(**{name: value for name, value in content.items() if name not in ("format", "kind")})
                records[record.run_id, record.probe] = record
    if damaged and warn:
        log.warning("skipped %d damaged or foreign lines of the records", damaged)
    if older and warn:
        log.warning(
            "skipped %d records of another version of this suite; `run` with the same options probes those runs again",
            older,
        )
    return list(records.values())


def read_accuracy_records(files: Iterable[Path]) -> list[AccuracyRecord]:
    """Reads the accuracies alone, as `read_records`."""
    return accuracies(read_records(files))


def accuracies(records: Iterable[Record]) -> list[AccuracyRecord]:
    """Those that are accuracies."""
    return [record for record in records if isinstance(record, AccuracyRecord)]


def geometries(records: Iterable[Record]) -> list[GeometryRecord]:
    """Those that are geometry."""
    return [record for record in records if isinstance(record, GeometryRecord)]


def _read(file: Path) -> str:
    try:
        return file.read_text(errors="replace")
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror}; mend it, or move the run's folder away") from error
