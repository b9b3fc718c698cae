"""Records: results of one probe of one run, one JSON line each in `results.jsonl` of the run."""

import base64
import hashlib
import json
import logging
from collections.abc import Iterable
from dataclasses import MISSING, asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from core.errors import UserError

log = logging.getLogger(__name__)

FORMAT = 4
DIGITS = 12  # hexadecimal digits of the checksum of a line
DIGEST = ', "sha256": "'  # between the fields of a line and its checksum
settings_text = json.JSONEncoder(sort_keys=True).encode  # `json.dumps` with `sort_keys` builds an encoder at every call


@dataclass(frozen=True, kw_only=True)
class Record:
    """Fields of every record: run, data, cost, probe."""

    kind: ClassVar[str]  # discriminator of the JSON line

    run_id: str  # hash of the resolved configuration
    method: str
    hparams: dict[str, Any]  # of the method
    dataset: str
    profile: str
    split: int
    official_split: bool  # whether the split was published with the profile
    data: str  # line of the passport that is common to all splits of the profile
    mark: str  # suffix of file names for surrogates of published data, such as "surrogate-order"; else empty
    passport: str  # short hash of the passport of the split
    seed: int  # of the run and of its probes
    backbone: str
    preset: str
    recipe: dict[str, Any]  # optimisation and scale, including the next two fields
    epochs: int | None  # None, like other fields on training, for external pretrained weights
    batch_size: int | None
    precision: str
    executor: str  # augmentation backend
    class_counts: list[int]  # images per class in the pretraining set
    group_counts: list[int]  # images per class that define the groups; for a balanced set, those of the long-tailed set
    grouping: str  # rule of the groups
    group_sizes: list[int]  # classes in many, medium, few
    n_pretrain: int
    unreadable: int  # image files of the pretraining set and the OOD pool that were skipped in training
    pretrain_sha256: str  # of the index list
    pool: str | None  # OOD pool with its size and hash
    tail_auroc: float | None  # of the final tail scores against "the class is in the few group"
    tail_spearman: float | None  # rank correlation of the final tail scores with the negated class count
    train_seconds: float | None
    images_seen: int | None  # source images of training, OOD images included
    images_per_second: float | None  # of training; None without training
    peak_memory_mb: float | None  # of training: on the GPU, or resident
    device: str
    versions: dict[str, str]
    probe: str
    protocol: str  # the probe in one line
    probe_seconds: float  # including its fraction of feature extraction
    warnings: list[str] = field(default_factory=list)  # on collapse of the run; records of earlier versions have none

    @property
    def extra_images(self) -> int:
        """OOD images seen in training: source images beyond the epochs over the pretraining set."""
        return (
            0 if self.images_seen is None or self.epochs is None else max(0, self.images_seen - self.epochs * self.n_pretrain)
        )

    @cached_property
    def hparams_text(self) -> str:
        """Hyper-parameters as canonical JSON, for comparison."""
        return settings_text(self.hparams)

    @cached_property
    def recipe_text(self) -> str:
        """Recipe as canonical JSON, for comparison."""
        return settings_text(self.recipe)

    def to_line(self) -> str:
        """One line of JSON."""
        text = json.dumps({"format": FORMAT, "kind": self.kind, **asdict(self)})
        return f'{text[:-1]}{DIGEST}{_digest(text)}"}}'


@dataclass(frozen=True, kw_only=True)
class AccuracyRecord(Record):
    """Accuracies of a probe in per cent."""

    kind = "accuracy"

    chosen: str  # result of model selection on validation
    val_accuracy: float | None
    val_class_accuracy: list[float] | None  # by class, for model selection between runs
    n_train: int
    n_val: int
    n_test: int
    class_accuracy: list[float]  # on test images, by class; mean over draws of the labelled images
    draw_means: list[float]  # mean class accuracy of each draw of the labelled images; one value without draws
    test_counts: list[int]  # test images of each class
    correct: str  # from `pack`: whether each test image is classified correctly in each draw, ordered by class
    curve: list[dict[str, float]] | None  # accuracies by number of labelled images per class, for a few-shot curve
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
    """Geometry of the test features, overall and by group (keys all, many, medium, few; None for an empty group)."""

    kind = "geometry"

    n_test: int
    alignment: dict[str, float | None]  # mean squared distance of two views of an image on the unit sphere; lower is better
    uniformity: dict[str, float | None]  # log of the mean Gaussian potential of pairs; lower is more uniform
    effective_rank: dict[str, float | None]  # exponential of the entropy of the normalised singular values


KINDS: dict[str, type[Record]] = {kind.kind: kind for kind in (AccuracyRecord, GeometryRecord)}


def pack(correct: NDArray[np.bool_]) -> str:
    """Encodes a (D, M) array as base64 text, one bit per element."""
    return base64.b64encode(np.packbits(correct).tobytes()).decode()


def unpack(text: str, draws: int, images: int) -> NDArray[np.bool_]:
    """Decodes the (draws, images) array from `pack`."""
    bits = np.frombuffer(base64.b64decode(text), dtype=np.uint8)
    return np.unpackbits(bits, count=draws * images).astype(bool).reshape(draws, images)


def read_records(files: Iterable[Path], *, warn: bool = True) -> list[Record]:
    """Reads the records of `results.jsonl` files and verifies their checksums.

    Lines that are damaged or of another format are skipped, with a warning if `warn`. If a run has several records of one
    probe, the last one is used. Raises UserError if a file cannot be read.
    """
    known = {kind: {field.name for field in fields(form)} | {"format", "kind"} for kind, form in KINDS.items()}
    optional = {field.name for form in KINDS.values() for field in fields(form) if field.default_factory is not MISSING}
    records: dict[tuple[str, str], Record] = {}
    damaged = older = 0
    for file in files:
        for line in _read(file).splitlines():
            try:
                content = json.loads(_verified(line))
            except (ValueError, RecursionError):
                content = None
            if not isinstance(content, dict):
                damaged += 1
            elif content.get("format") != FORMAT:
                older += 1
            elif set(content) | optional != known.get(str(content.get("kind"))):
                damaged += 1
            else:
                form = KINDS[content["kind"]]
                record = form(**{name: value for name, value in content.items() if name not in ("format", "kind")})
                records[record.run_id, record.probe] = record
    if damaged and warn:
        log.warning("skipped %d damaged or unknown lines in results.jsonl files", damaged)
    if older and warn:
        log.warning(
            "skipped %d records of another format version; repeat the `run` command to probe those runs again",
            older,
        )
    return list(records.values())


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:DIGITS]


def _verified(line: str) -> str:
    """Removes the checksum of a line; lines of earlier versions have none. Raises ValueError if it does not fit the line."""
    text, found, digest = line.rpartition(DIGEST)
    if not found:
        return line
    text += "}"
    if digest != _digest(text) + '"}':
        raise ValueError("wrong checksum")
    return text


def read_accuracy_records(files: Iterable[Path]) -> list[AccuracyRecord]:
    """Reads only the accuracy records, like `read_records`."""
    return accuracies(read_records(files))


def accuracies(records: Iterable[Record]) -> list[AccuracyRecord]:
    """Selects the accuracy records."""
    return [record for record in records if isinstance(record, AccuracyRecord)]


def geometries(records: Iterable[Record]) -> list[GeometryRecord]:
    """Selects the geometry records."""
    return [record for record in records if isinstance(record, GeometryRecord)]


def _read(file: Path) -> str:
    try:
        return file.read_text(errors="replace")
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror}; repair it, or move the run folder elsewhere") from error
