"""Records: results of one probe of one run, one JSON line each in `results.jsonl` of the run."""

import hashlib
import json
import logging
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from core.errors import UserError
from core.files import read_bytes
from core.schema import Count, InvalidData, Percent, decode
from core.words import counted
from data.variants import variant_of
from run_store.consistency import contradictions
from run_store.contents import run_folders
from run_store.layout import RESULTS

log = logging.getLogger(__name__)

FORMAT: Literal[4] = 4
AGAIN = f"delete the run's {RESULTS} and repeat its `run` command to probe it again"  # advice
DIGITS = 12  # hexadecimal digits of the checksum of a line
DIGEST = ', "sha256": "'  # between the fields of a line and its checksum
settings_text = json.JSONEncoder(sort_keys=True).encode  # `json.dumps` with `sort_keys` builds an encoder at every call

Settings = dict[str, bool | int | float | str | list[int | float | str] | None]
Seed = Annotated[int, Meta(ge=0, le=2**63 - 1)]
ClassCounts = list[Count]  # (C,)
Groups = Annotated[list[Count], Meta(min_length=3, max_length=3)]  # many, medium, few
TestCounts = list[Annotated[int, Meta(ge=1, le=2**53)]]  # (C,)


class OtherGroups(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Group means under the grouping rule that is not that of the benchmark; fields as in `AccuracyRecord`."""

    grouping: str
    many: float | None
    medium: float | None
    few: float | None
    group_std: float | None
    head_tail_gap: float | None
    group_sizes: Groups


class CurvePoint(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Accuracies at one number of labelled images per class; None for a group without classes."""

    shots: Annotated[int, Meta(ge=1, le=2**53)]
    mean: float
    sd: float  # of the mean over draws of the labelled images
    many: float | None = None
    medium: float | None = None
    few: float | None = None


class ByGroup(TypedDict):
    """A quantity over all classes and by group; None for an empty group."""

    all: float | None
    many: float | None
    medium: float | None
    few: float | None


class Record(msgspec.Struct, frozen=True, kw_only=True, dict=True, forbid_unknown_fields=True, tag_field="kind"):
    """Fields of every record: run, data, cost, probe."""

    format: Literal[4] = FORMAT
    run_id: str  # hash of the resolved configuration
    method: str
    hparams: Settings  # of the method
    dataset: str
    profile: str
    split: Count
    official_split: bool  # whether the split was published with the profile
    data: str  # line of the passport that is common to all splits of the profile
    mark: str  # suffix of file names for surrogates of published data, such as "surrogate-order"; else empty
    passport: str  # short hash of the passport of the split
    seed: Seed  # of the run and of its probes
    backbone: str
    preset: str
    recipe: Settings  # optimisation and scale, including the next two fields
    epochs: Count | None  # None, like other fields on training, for external pretrained weights
    batch_size: Count | None
    precision: str
    executor: str  # augmentation backend
    class_counts: ClassCounts  # images per class in the pretraining set
    group_counts: ClassCounts  # images per class that define the groups; for a balanced set, those of the long-tailed set
    grouping: str  # rule of the groups
    group_sizes: Groups  # classes in many, medium, few
    n_pretrain: Count
    unreadable: Count  # image files of the pretraining set and the OOD pool that were skipped in training
    pretrain_sha256: str  # of the index list
    pool: str | None  # OOD pool with its size and hash
    tail_auroc: float | None  # of the final tail scores against "the class is in the few group"
    tail_spearman: float | None  # rank correlation of the final tail scores with the negated class count
    train_seconds: float | None
    images_seen: Count | None  # source images of training, OOD images included
    images_per_second: float | None  # of training; None without training
    peak_memory_mb: float | None  # of training: on the GPU, or resident
    device: str
    versions: dict[str, str]
    probe: str
    protocol: str  # the probe in one line
    probe_seconds: float  # including its fraction of feature extraction
    processes: Count = 1  # that trained the run together
    compiled: bool = False  # whether its networks were compiled
    true_labels: bool = False  # whether its method was given the true labels: an ablation, not self-supervised
    warnings: list[str] = msgspec.field(default_factory=list)  # on collapse of the run; records of earlier versions have none

    @property
    def variant(self) -> str:
        """Name of the variant of the benchmark, for display."""
        return variant_of(self.dataset, self.profile)

    @property
    def is_transfer(self) -> bool:
        """Whether its network was trained on other data than it is probed on, or on unknown data (external weights)."""
        return self.epochs is None or "pretrained_on" in self.recipe

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
        """One line of JSON; lone surrogates, as in non-UTF-8 paths, become `?`.

        Raises ValueError if a number is not finite.
        """
        content = {"format": FORMAT, "kind": self.__struct_config__.tag, **msgspec.structs.asdict(self)}
        written = json.dumps(content, ensure_ascii=False, allow_nan=False, default=msgspec.to_builtins)
        text = written.encode(errors="replace")
        return f'{text[:-1].decode()}{DIGEST}{_digest(text)}"}}'


class AccuracyRecord(Record, frozen=True, kw_only=True, tag="accuracy"):
    """Accuracies of a probe in per cent."""

    chosen: str  # result of model selection on validation
    val_accuracy: float | None
    val_class_accuracy: list[Percent] | None  # by class, for model selection between runs
    n_train: Count
    n_val: Count
    n_test: Count
    class_accuracy: list[Percent]  # on test images, by class; mean over draws of the labelled images
    draw_means: list[float]  # mean class accuracy of each draw of the labelled images; one value without draws
    test_counts: TestCounts  # test images of each class
    correct: bytes  # from `pack`: whether each test image is classified correctly in each draw, ordered by class
    curve: list[CurvePoint] | None  # accuracies by number of labelled images per class, for a few-shot curve
    mean: float
    many: float | None  # None for a group without classes
    medium: float | None
    few: float | None
    group_std: float | None  # of many, medium, few; ddof 0
    head_tail_gap: float | None  # many minus few
    class_std: float  # over classes; ddof 0
    worst: float  # of the worst class
    harmonic_mean: float  # over classes
    other_groups: OtherGroups


class GeometryRecord(Record, frozen=True, kw_only=True, tag="geometry"):
    """Geometry of the test features, overall and by group."""

    n_test: Count
    alignment: ByGroup  # mean squared distance of two views of an image on the unit sphere; lower is better
    uniformity: ByGroup  # log of the mean Gaussian potential of pairs; lower is more uniform
    effective_rank: ByGroup  # exponential of the entropy of the normalised singular values


ANY_KIND: Any = AccuracyRecord | GeometryRecord


def pack(correct: NDArray[np.bool_]) -> bytes:
    """Encodes a (D, M) array, one bit per element."""
    return np.packbits(correct).tobytes()


def unpack(data: bytes, draws: int, images: int) -> NDArray[np.bool_]:
    """Decodes the (draws, images) array from `pack`."""
    bits = np.frombuffer(data, dtype=np.uint8)
    return np.unpackbits(bits, count=draws * images).astype(bool).reshape(draws, images)


class _Header(msgspec.Struct):
    """Format of a line of any version."""

    format: int | None = None


def read_records(files: Iterable[Path], *, warn: bool = True) -> list[Record]:
    """Reads the records of `results.jsonl` files; verifies their checksums, types, and aggregates (`contradictions`).

    Lines that are damaged or of another format are skipped, with a warning if `warn`. If a run has several records of one
    probe, the last one is used. Raises UserError if a file cannot be read.
    """
    found: list[Record] = []
    damaged: list[str] = []
    older = 0
    for file in files:
        for number, line in enumerate(_read(file).splitlines(), start=1):
            try:
                found.append(decode(_verified(line), ANY_KIND))
            except InvalidData as error:
                if _of_another_format(line):
                    older += 1
                else:
                    damaged.append(f"{file}, line {number}: {error}")
    wrong = {id(record): reason for record, reason in contradictions(accuracies(found))}
    damaged += [f"run {record.run_id}, probe {record.probe}: {wrong[id(record)]}" for record in found if id(record) in wrong]
    if damaged and warn:
        lines = counted(len(damaged), "damaged or unknown line")
        log.warning("skipped %s in results.jsonl files (%s)", lines, damaged[0])
    if older and warn:
        log.warning(
            "skipped %s of another format version; repeat the `run` command to probe those runs again",
            counted(older, "record"),
        )
    return list({(record.run_id, record.probe): record for record in found if id(record) not in wrong}.values())


def checked_records(lines: Sequence[bytes], place: Path | str) -> list[Record]:
    """Decodes lines of `results.jsonl`, all of which must be intact: checksum, types and aggregates.

    Raises:
        UserError: the first that is not; `place` names their origin.
    """
    found: list[Record] = []
    for number, line in enumerate(lines, start=1):
        try:
            if DIGEST.encode() not in line:
                raise InvalidData("no checksum")
            found.append(decode(_verified(line), ANY_KIND))
        except InvalidData as error:
            raise UserError(f"{place}, record {number}: {error}; restore it, or {AGAIN}") from error
    for record, reason in contradictions(accuracies(found)):
        raise UserError(f"{place}, run {record.run_id}, probe {record.probe}: {reason}; restore it, or {AGAIN}")
    return found


def read_runs(out: Path, *, warn: bool = True) -> list[Record]:
    """Reads the records of all run folders under `out`, like `read_records`."""
    return read_records([file for folder in run_folders(out) if (file := folder / RESULTS).exists()], warn=warn)


def _of_another_format(line: bytes) -> bool:
    try:
        return decode(line, _Header).format != FORMAT
    except InvalidData:
        return False


def _digest(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()[:DIGITS]


def _verified(line: bytes) -> bytes:
    """Removes the checksum of a line; lines of earlier versions have none. Raises InvalidData if it does not fit the line."""
    text, found, digest = line.rpartition(DIGEST.encode())
    if not found:
        return line
    text += b"}"
    if digest != f'{_digest(text)}"}}'.encode():
        raise InvalidData("wrong checksum")
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


def _read(file: Path) -> bytes:
    try:
        return read_bytes(file)
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror}; repair it, or move the run folder to another disk") from error
