"""Results that the repository ships, `results/<benchmark>/<preset>.jsonl`, beside those of a user's own runs."""

from collections.abc import Iterable, Sequence
from functools import cached_property
from operator import attrgetter
from pathlib import Path

from msgspec.structs import asdict

from reports.comparable import method_key
from run_store.records import AccuracyRecord, accuracies, read_records, settings_text
from run_store.submission import read_submission, submission_files

SHIPPED = Path(__file__).parent.parent / "results"
VERSIONS = ("torch", "timm")  # named in captions
_setting = attrgetter("dataset", "profile", "data", "preset", "recipe_text", "executor", "precision")
_place = attrgetter("probe", "protocol", "passport", "split", "seed")


class ShippedRecord(AccuracyRecord, frozen=True, kw_only=True, tag="accuracy"):
    """A record of the repository beside others, marked in tables; its `precision` is that of the table."""

    trained_in: str  # precision of its training
    submission: str = ""  # name of the submission that it is of; empty: the suite's own

    @property
    def label(self) -> str:
        """In brackets after the method."""
        return self.submission or "shipped"

    @property
    def origin(self) -> str:
        """Device, precision and versions of its training."""
        versions = [f"{name} {self.versions[name]}" for name in VERSIONS if name in self.versions]
        return f"{self.device} ({', '.join([self.trained_in, *versions])})"

    @cached_property
    def hparams_text(self) -> str:
        """With the submission, whose runs are a row of their own."""
        return settings_text(self.hparams) + self.submission


def shipped_files(folder: Path | None = None) -> list[Path]:
    """All files of shipped records, sorted; none if the folder does not exist. None: `results` of the repository."""
    return sorted((folder or SHIPPED).glob("*/*.jsonl"))


def shipped_beside(own: Sequence[AccuracyRecord], folder: Path | None = None) -> list[ShippedRecord]:
    """Shipped records that are comparable with `own`.

    Benchmark, profile, passport, preset, recipe, augmentation backend and probe are equal, and so are split and seed: each
    shipped run has a run of the user to be compared with. Precision may differ; a run in that of `own` is preferred. Methods
    that `own` has, with the same hyper-parameters and in the same setting, are left out.

    Args:
        own: records of a user's runs.
        folder: of the shipped results; it may be missing. None: `results` of the repository.
    """
    folder = folder or SHIPPED
    presets = dict.fromkeys((record.dataset, record.preset) for record in own)
    files = [file for dataset, preset in presets if (file := folder / dataset / f"{preset}.jsonl").exists()]
    shipped = accuracies(read_records(files))
    settings: dict[tuple[object, ...], list[AccuracyRecord]] = {}
    for record in own:
        settings.setdefault(_setting(record), []).append(record)
    return [record for setting, members in settings.items() for record in _beside(setting, members, shipped)]


def _beside(
    setting: tuple[object, ...], own: Iterable[AccuracyRecord], shipped: Iterable[AccuracyRecord]
) -> list[ShippedRecord]:
    """The shipped records beside `own`, which have one setting."""
    *same, precision = setting
    methods, places = {method_key(record) for record in own}, {_place(record) for record in own}
    found = {}
    for record in sorted(shipped, key=lambda record: record.precision == precision):
        if list(_setting(record)[:-1]) == same and method_key(record) not in methods and _place(record) in places:
            found[method_key(record), _place(record)] = record
    return [
        ShippedRecord(**asdict(record) | {"precision": precision}, trained_in=record.precision) for record in found.values()
    ]


def submitted(folder: Path | None = None) -> list[ShippedRecord]:
    """Accuracies of all submissions. Raises UserError if one is damaged. None: those in `results` of the repository."""
    found = []
    for file in submission_files(folder or SHIPPED):
        submission, records = read_submission(file)
        for record in accuracies(records):
            found.append(ShippedRecord(**asdict(record), trained_in=record.precision, submission=submission.name))
    return found
