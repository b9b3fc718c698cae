"""The command `submit`: checks the runs of a method and writes them to one file, for the leaderboard of the repository."""

import hashlib
import inspect
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from core.errors import UserError
from core.files import read_bytes, writable_folder
from core.schema import InvalidData, convert
from data.benchmark import BENCHMARKS
from eval.probes import PROBES
from methods import METHODS
from reports.captions import number_list
from reports.shipped import shipped_files
from run_store.contents import run_folders, run_id_of
from run_store.layout import CONFIG, DONE, RESULTS
from run_store.loading import config_of, read_config
from run_store.passport import read_passport
from run_store.records import AGAIN, AccuracyRecord, Record, accuracies, checked_records, read_records
from run_store.submission import Name, Submission, write_submission

ROOT = Path(__file__).parent.parent
EQUAL = ("method", "hparams", "dataset", "profile", "data", "preset", "recipe", "precision", "executor", "versions")
COUNTS = ("n_train", "n_val", "n_test", "test_counts")


def submit(paths: Sequence[Path], name: str, file: Path | None = None) -> Path:
    """Checks runs and writes them as a submission; returns its file.

    Args:
        paths: run folders, or folders of them.
        name: of the submission in the leaderboard.
        file: to write; None: `<name>.json` in the current folder.

    Raises:
        UserError: the name, or the first run or record that does not pass: damaged, edited, not on an official split, not by a
            registered method or probe, without choice on validation images, different from the others in a setting, or missing.
    """
    try:
        convert(name, Name)
    except InvalidData as error:
        raise UserError(f"--name {name}: give up to 40 letters, digits, spaces and .+_-") from error
    folders = list(dict.fromkeys(folder for path in paths for folder in _run_folders(path)))
    lines: dict[tuple[str, str], bytes] = {}
    by_probe: dict[tuple[str, str], Record] = {}
    for folder in folders:
        of_run = _lines(folder)
        found = checked_records(of_run, folder / RESULTS)
        _check_run(folder, found)
        places = [(record.run_id, record.probe) for record in found]  # the last record of a probe counts, as in tables
        lines |= dict(zip(places, of_run, strict=True))
        by_probe |= dict(zip(places, found, strict=True))
    records = list(by_probe.values())
    _check_together(records)
    submission = Submission(
        name=name,
        date=datetime.now(UTC).date().isoformat(),
        sources=sources(records[0].method),
        versions=records[0].versions,
        configs=[config_of(record).to_json() for record in {record.run_id: record for record in records}.values()],
        records=[msgspec.Raw(line) for line in lines.values()],
    )
    file = file or Path(f"{name.replace(' ', '-')}.json")
    writable_folder(file.parent, "--out")
    write_submission(file, submission)
    return file


def sources(method: str) -> dict[str, str]:
    """SHA-256 of the files of a method and of those it is composed of, by their path in the repository."""
    files = {Path(inspect.getfile(owner)) for owner in METHODS[method].stack()}
    return {str(file.relative_to(ROOT)): hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(files)}


def _run_folders(path: Path) -> list[Path]:
    """The run folder `path`, or those in it. Raises UserError if there are none."""
    found = [path] if (path / CONFIG).exists() else run_folders(path) if path.is_dir() else []
    if not found:
        raise UserError(f"{path} has no runs; give run folders, or a folder of runs")
    return found


def _lines(folder: Path) -> list[bytes]:
    """Lines of the records of a run. Raises UserError if there are none."""
    file = folder / RESULTS
    lines = read_bytes(file).splitlines() if file.exists() else []
    if not lines:
        raise UserError(f"{folder} has no records; repeat its `run` command")
    return lines


def _check_run(folder: Path, records: Sequence[Record]) -> None:
    """Raises UserError for a run that is unfinished, edited, or on other data than the published."""
    config = read_config(folder)
    if not (folder / DONE).exists() or run_id_of(folder) != config.run_id:
        raise UserError(f"{folder} is not done, or not of its {CONFIG}; repeat its `run` command")
    passport = read_passport(folder)
    for record in records:
        where = f"{folder}, probe {record.probe}"
        if config_of(record).run_id != config.run_id:
            raise UserError(f"{where}: the record is of another run, {record.run_id}; restore {RESULTS}")
        if passport is None or passport.short != record.passport or passport.official != record.official_split:
            raise UserError(f"{where}: the passport of the record is not that of the folder; restore both")
        if not record.official_split:
            raise UserError(f"{where}: split {record.split} is not published; submit runs on official splits")
        _check_probe(where, record)
    if not accuracies(records):
        raise UserError(f"{folder} has no accuracies; probe it with the default probes")


def _check_probe(where: str, record: Record) -> None:
    """Raises UserError for a record of a probe that is not registered, or whose model was not chosen on validation images."""
    if record.probe not in PROBES:
        raise UserError(f"{where}: the probe is not registered; submit registered probes")
    probe = PROBES[record.probe]
    if record.protocol != probe.describe(BENCHMARKS[record.dataset].in_files):
        raise UserError(f"{where}: its protocol is not the registered one; {AGAIN}")
    if isinstance(record, AccuracyRecord) and "val" in probe.needs and (not record.n_val or record.val_accuracy is None):
        raise UserError(f"{where}: {record.chosen!r} was not chosen on validation images; {AGAIN}")


def _check_together(records: Sequence[Record]) -> None:
    """Raises UserError for runs that differ in a setting, or lack a split, seed or probe that others have."""
    first = records[0]
    for record in records:
        for field in EQUAL:
            if getattr(record, field) != getattr(first, field):
                raise UserError(
                    f"runs {first.run_id} and {record.run_id} differ in {field} ({getattr(first, field)} and "
                    f"{getattr(record, field)}); submit runs of one method and setting"
                )
    seeds: dict[int, set[int]] = {}
    probes: dict[str, set[tuple[str, str]]] = {}
    for record in records:
        seeds.setdefault(record.split, set()).add(record.seed)
        probes.setdefault(record.run_id, set()).add((record.probe, record.protocol))
    declared = BENCHMARKS[first.dataset].profiles.get(first.profile)
    wanted = range(1, (declared.official if declared is not None else 1) + 1)
    if lacking := set(wanted) - seeds.keys():
        raise UserError(f"split {number_list(lacking)} of {first.dataset} is missing; submit runs on all {len(wanted)} splits")
    _check_equal("seeds", {f"split {split}": found for split, found in seeds.items()})
    _check_equal("probes", probes)
    _check_shipped(accuracies(records))


def _check_equal(noun: str, sets: dict[str, Any]) -> None:
    """Raises UserError if two of the named sets differ."""
    (name, first), *others = sets.items()
    for other, found in others:
        if found != first:
            listed = ["; ".join(map(str, sorted(one))) for one in (first, found)]
            raise UserError(f"{name} and {other} have different {noun} ({listed[0]} and {listed[1]}); complete the grid")


def _check_shipped(records: Collection[AccuracyRecord]) -> None:
    """Raises UserError if data or number of images of a probe are not those of the shipped results on the same splits."""
    known: dict[tuple[str, str, int], AccuracyRecord] = {}
    by_probe: dict[tuple[str, str, str], AccuracyRecord] = {}
    for shipped in accuracies(read_records(_files_of(records))):
        known[shipped.dataset, shipped.profile, shipped.split] = shipped
        by_probe[shipped.passport, shipped.probe, shipped.protocol] = shipped
    for record in records:
        same = known.get((record.dataset, record.profile, record.split))
        if same is not None and same.passport != record.passport:
            raise UserError(f"run {record.run_id}: split {record.split} is not that of the shipped results; see `data --check`")
        alike = by_probe.get((record.passport, record.probe, record.protocol))
        for field in COUNTS if alike is not None else ():
            if getattr(record, field) != getattr(alike, field):
                raise UserError(
                    f"run {record.run_id}, probe {record.probe}: {field} is {getattr(record, field)}, and "
                    f"{getattr(alike, field)} in the shipped results; {AGAIN}"
                )


def _files_of(records: Iterable[Record]) -> list[Path]:
    """Shipped files of the benchmarks of the records."""
    datasets = {record.dataset for record in records}
    return [file for file in shipped_files() if file.parent.name in datasets]
