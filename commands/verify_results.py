"""The command `verify-results`: trains a shipped run again and compares its accuracies with the shipped ones."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from commands.titles import run_title
from core.errors import UserError
from core.files import writable_folder
from core.registry import select
from core.words import listed
from data.benchmark import BENCHMARKS
from data.variants import variant_of
from grid.execute import execute, pool_of_run
from grid.options import GridOptions
from grid.plan import Plan, make_plan
from reports.captions import epochs
from reports.shipped import shipped_files
from reports.spread import read_spreads, spread_of
from run_store.folder import folder_of
from run_store.loading import config_of
from run_store.records import AccuracyRecord, accuracies, read_records
from training.config import RunConfig, resolve
from training.device import use_device, use_threads

CHECKPOINT_SECONDS = 60.0
MAX_NAMED = 5  # runs in an error


def verify_results(
    row: str,
    *,
    dataset: str | None = None,
    preset: str | None = None,
    split: int = 1,
    seed: int = 0,
    probes: Sequence[str] = (),
    device: str = "auto",
    data_root: Path | None = None,
    out: Path | None = None,
) -> Iterator[tuple[bool, str]]:
    """Trains a shipped run with its configuration on this machine; yields for each probe whether it is reproduced, and a line.

    A probe is reproduced if its mean class accuracy differs by at most the limit of the spread between machines.

    Args:
        row: run id or its first digits, or name of a method: its run with the settings of the preset.
        dataset: benchmark of a method's run; None: any.
        preset: of a method's run; None: any.
        split: of a method's run.
        seed: of a method's run.
        probes: names or globs; none: all that the run has.
        device: auto, cpu, cuda or cuda:N.
        data_root: folder of the data sets; None: the user's cache folder.
        out: folder of runs, where the run stays; None: a temporary one.

    Raises:
        UserError: no or several such runs, an unknown spread, other data than that of the shipped run, or failed training.
    """
    records = _records_of(row, dataset, preset, split, seed)
    by_probe = {record.probe: record for record in records}
    chosen = [by_probe[probe] for probe in select("probe of this run", list(by_probe), probes, {})] if probes else records
    known = read_spreads()
    limits = {record.probe: spread_of(record, known) for record in chosen}
    config = config_of(records[0])
    with ExitStack() as stack:
        folder = out or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="verify-results-")))
        plan = _plan(config, list(limits), device, data_root, writable_folder(folder, "--out"))
        _check_data(plan, records[0])
        use_threads(plan.parallelism[1])
        use_device(plan.device)
        for run, reason in execute(plan, CHECKPOINT_SECONDS, plan.unfinished):
            if reason is not None:
                raise UserError(f"{run.path.name} failed: {reason}")
        found = {record.probe: record for record in accuracies(plan.runs[0].records())}
    for record in chosen:
        here, spread = found[record.probe].mean, limits[record.probe]
        good = abs(here - record.mean) <= spread.limit
        yield (
            good,
            f"{record.probe}: {here:.2f} on {found[record.probe].device}, {record.mean:.2f} on {record.device}: "
            f"{'reproduced' if good else 'NOT reproduced'}, difference {here - record.mean:+.2f}, limit {spread.limit:.2f} "
            f"(between machines, from {spread.runs} runs)",
        )


def _records_of(row: str, dataset: str | None, preset: str | None, split: int, seed: int) -> list[AccuracyRecord]:
    """Shipped records of one run. Raises UserError if there is none, or there are several runs."""
    shipped = accuracies(read_records(shipped_files()))
    found = [record for record in shipped if record.run_id.startswith(row)]
    if not found:
        datasets = BENCHMARKS.names() if dataset is None else BENCHMARKS.select([dataset])
        of_method = [
            record
            for record in shipped
            if (record.method, record.split, record.seed) == (row.lower(), split, seed)
            and record.dataset in datasets
            and preset in (None, record.preset)
        ]
        found = list(filter(_has_default_settings, of_method)) or of_method
    runs = {record.run_id: record for record in found}
    if not runs:
        given = {"split": split, "seed": seed, "dataset": dataset, "preset": preset}
        setting = ", ".join(f"{name} {value}" for name, value in given.items() if value is not None)
        raise UserError(f"no shipped run is {row} ({setting}); give a run id of results/, or a method, --split and --seed")
    if len(runs) > 1:
        named = listed(map(_description, runs.values()), MAX_NAMED)
        raise UserError(f"{row} is {len(runs)} shipped runs: {named}; give a run id, or the options that differ")
    return found


def _has_default_settings(record: AccuracyRecord) -> bool:
    """Whether variant, recipe and hyper-parameters are those of the preset, with any OOD pool."""
    default = resolve(
        method=record.method,
        dataset=record.dataset,
        split=record.split,
        seed=record.seed,
        preset=record.preset,
        precision=record.precision,
        hparam_changes={name: record.hparams[name] for name in ("pool", "budget") if name in record.hparams},
        executor=record.executor,
    )
    return default.run_id == record.run_id


def _description(record: AccuracyRecord) -> str:
    """Run id and settings by which shipped runs of a method differ."""
    title = run_title(record.method, record.hparams, record.dataset, record.preset)
    variant = variant_of(record.dataset, record.profile)
    return f"{record.run_id} ({title}, {record.dataset} {variant}, {record.preset}, {epochs(record.epochs)})"


def _plan(config: RunConfig, probes: Sequence[str], device: str, data_root: Path | None, out: Path) -> Plan:
    """Plan of the one run."""
    options = GridOptions(
        methods=[config.method],
        datasets=[config.dataset],
        variants=[config.profile],
        splits=[config.split],
        seeds=[config.seed],
        preset=config.preset,  # type: ignore[arg-type]
        precision=config.precision,  # type: ignore[arg-type]
        views=config.executor,
        probes=list(probes),
        device=device,
        jobs=1,
        data_root=data_root,
        out=out,
    )
    return replace(make_plan(options), runs=[folder_of(out, config)])


def _check_data(plan: Plan, record: AccuracyRecord) -> None:
    """Loads the data. Raises UserError if images, index lists or OOD pool are not those of the shipped run."""
    plan.load_data()
    config = plan.runs[0].config
    passport = plan.data.split(config.dataset, config.profile, config.split, plan.needs(config.dataset)).passport
    pool = pool_of_run(config, plan.data.root)
    for name, here, shipped in (
        ("data", passport.short, record.passport),
        ("OOD pool", None if pool is None else pool.about, record.pool),
    ):
        if here != shipped:
            raise UserError(f"the {name} of run {record.run_id} is {shipped}, but here {here}; restore it, see `data`")
