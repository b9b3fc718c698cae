"""Results that the repository ships, `results/<benchmark>/<preset>.jsonl`, beside those of a user's own runs."""

from collections.abc import Iterable, Sequence
from operator import attrgetter
from pathlib import Path

from msgspec.structs import asdict

from core.errors import UserError
from reports.comparable import method_key
from reports.shipped_record import ShippedRecord
from run_store.records import AccuracyRecord, accuracies, read_records
from run_store.submission import read_submission, submission_files

SHIPPED = Path(__file__).parent.parent / "results"
_setting = attrgetter("dataset", "profile", "data", "preset", "recipe_text", "executor", "precision")
_place = attrgetter("probe", "protocol", "passport", "split", "seed")


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


def submitted(shipped: Iterable[AccuracyRecord], folder: Path | None = None) -> list[ShippedRecord]:
    """Accuracies of all submissions in `folder`, or in `results` of the repository.

    Their `precision` is that of the `shipped` results, if these have their setting in another precision only.

    Raises:
        UserError: one is damaged, or two of a benchmark have the same name.
    """
    found = []
    precisions: dict[tuple[object, ...], set[str]] = {}
    for record in shipped:
        *setting, precision = _setting(record)
        precisions.setdefault(tuple(setting), set()).add(precision)
    files: dict[tuple[Path, str], Path] = {}
    for file in submission_files(folder or SHIPPED):
        submission, records = read_submission(file)
        other = files.setdefault((file.parent, submission.name.casefold()), file)
        if other != file:
            raise UserError(f"{file} and {other.name} are both named {submission.name}; rename one: `submit --name`")
        for record in accuracies(records):
            *setting, precision = _setting(record)
            known = precisions.get(tuple(setting), {precision})
            of_table = precision if precision in known else min(known)
            values = asdict(record) | {"precision": of_table}
            found.append(ShippedRecord(**values, trained_in=precision, submission=submission.name))
    return found
