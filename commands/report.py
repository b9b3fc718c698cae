"""The command `report`: tables, figures and HTML page of a folder of runs, from records and logs only."""

import logging
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from commands.titles import class_names, method_group, method_title, more_runs, run_title
from core.files import removed
from core.registry import ALL
from methods import METHODS
from reports.figures import write_figures
from reports.page import About, adapter, write_page
from reports.page.content import Section
from reports.shipped import shipped_beside
from reports.tables import AccuracyTable, build_tables, summary_tables, tables_text, terminal_text, write_tables
from reports.tables.costs import BASELINE
from reports.tables.states import RunState
from reports.tables.summary import SUMMARY
from reports.tables.table import Table
from run_store.contents import read_unfinished, run_folders, run_id_of
from run_store.folder import RunFolder
from run_store.history import read_histories
from run_store.layout import DONE, ERROR, REPORTED, RESULTS
from run_store.lease import Activity, Busy, file_clock, hold
from run_store.records import AccuracyRecord, Record, accuracies, read_records, read_runs

log = logging.getLogger(__name__)

PAGE = "report.html"
TABLES = "tables"
FIGURES = "figures"
BUSY_SECONDS = 1.0  # between checks of the report of another worker
SHOWN = (ALL,)  # methods whose shipped results the terminal shows
MISSING = "missing-runs"  # name of the table of unfinished and failed runs


@dataclass(frozen=True)
class Report:
    """Result of `report`."""

    text: str  # accuracy tables for a terminal
    paths: list[Path]  # written folders and files
    by_another: bool = False  # whether another worker has written them


def report(
    out: Path,
    run_ids: Sequence[str] | None = None,
    *,
    figures: bool = True,
    baselines: Sequence[str] = SHOWN,
) -> Report | None:
    """Writes tables, figures and page of the runs under `out`; returns None if there are no records and no runs.

    Summaries and tables of accuracies have the comparable results of the repository too.

    Args:
        out: folder of runs.
        run_ids: runs of the returned text; None: all.
        figures: whether to draw figures and include them in the page.
        baselines: methods whose results in the repository the returned text has, as names, globs or groups; the files have
            those of all methods. Empty: neither has any.

    Raises:
        UserError: a record or log cannot be read, a file cannot be written, or `out` was removed.
    """
    if not out.exists():
        raise removed(out)
    folders = run_folders(out)
    records = read_runs(out)
    by_id: dict[str, list[Record]] = {}
    for record in records:
        by_id.setdefault(record.run_id, []).append(record)
    states = {folder: state for folder in folders if (state := table_state(folder)) is not None}
    if not records and not states:
        return None
    own = accuracies(records)
    compared = [*own, *(shipped_beside(own) if baselines else ())]
    accuracy_tables = build_tables(compared, method_title, list(states.values()), group=method_group)
    tables = write_tables(records, out / TABLES, method_title, list(states.values()), accuracy_tables, more_runs)
    histories = read_histories(folder for folder in folders if folder in states or run_id_of(folder) in by_id)
    folder_of = {run_id_of(folder): folder for folder in folders}
    names = partial(class_names, folders=folder_of)
    saved = write_figures(records, histories, out / FIGURES, method_title, names) if figures else []
    logs = {history.folder: history for history in histories}
    unfinished = {state.run_id for state in states.values()}
    finished = [(folder_of.get(run_id), found) for run_id, found in by_id.items() if run_id not in unfinished]
    runs = [
        adapter.finished_run(folder, found, method_title, logs.get(folder) if folder else None) for folder, found in finished
    ]
    runs += [adapter.unfinished_run(folder, s, by_id.get(s.run_id, ()), logs.get(folder)) for folder, s in states.items()]
    write_page(
        out / PAGE,
        page_sections(tables, accuracy_tables),
        [adapter.figure(one) for one in saved],
        runs,
        About(
            "Self-supervised learning on long-tailed images",
            facts={"records": f"{len(records):,}"} | ({} if figures else {"figures": "drawn when the grid ends"}),
        ),
    )
    if run_ids is not None:
        own, states = [record for record in own if record.run_id in run_ids], {}
    text = _text(own, baselines, list(states.values()))
    return Report(text, [out / TABLES, *([out / FIGURES] if saved else []), out / PAGE])


def page_sections(tables: Iterable[Table], accuracy_tables: Sequence[AccuracyTable]) -> list[Section]:
    """Sections of the page; summaries and the first table of accuracies of each setting are open.

    Args:
        tables: all tables of the report.
        accuracy_tables: those of accuracies.
    """
    main = {table.setting_key: table.name for table in reversed(accuracy_tables)}
    return [
        adapter.table_section(table, lead=table.name in main.values() or table.name.startswith(SUMMARY))
        for table in tables
        if table.name != MISSING  # the page has its own list of these runs
    ]


def exclusive_report(out: Path, run_ids: Sequence[str] | None = None, *, baselines: Sequence[str] = SHOWN) -> Report | None:
    """`report` while no other process writes one, for which it waits. Arguments and errors are those of `report`."""
    waited = False
    while True:
        try:
            with _reporting(out):
                return report(out, run_ids, baselines=baselines)
        except Busy as error:
            waited = _wait(error, waited)


def shared_report(out: Path, run_ids: Sequence[str] | None, since: float) -> Report | None:
    """`report` by one of the workers that finish a grid; the others wait for it, and write none if it has all their records.

    Args:
        out: folder of runs.
        run_ids: runs of the returned text; None: all.
        since: time by `file_clock`, from which on a report by another worker counts.

    Raises:
        UserError: like `report`.
    """
    if not out.exists():
        raise removed(out)
    waited = False
    while not _is_reported(out, since):
        try:
            with _reporting(out):
                if _is_reported(out, since):  # since the last check
                    break
                began = file_clock(out)
                written = report(out, run_ids)
                (out / REPORTED).touch()
                os.utime(out / REPORTED, (began, began))
                return written
        except Busy as error:
            waited = _wait(error, waited)
    paths = [path for path in (out / TABLES, out / FIGURES, out / PAGE) if path.exists()]
    own = [record for record in accuracies(read_runs(out, warn=False)) if run_ids is None or record.run_id in run_ids]
    return Report(_text(own), paths, by_another=True)


def _wait(error: Busy, waited: bool) -> bool:
    """Waits for the report of another process, and logs it the first time; returns True."""
    if not waited:
        log.info("waiting for the report of another worker: %s", error)
    time.sleep(BUSY_SECONDS)
    return True


@contextmanager
def _reporting(out: Path) -> Iterator[None]:
    """Context in which this process alone writes the report. Raises Busy if another does, UserError without `out`."""
    if not out.exists():  # a lock would create it again
        raise removed(out)
    with hold(out) as lease:
        lease.describe = lambda: Activity("reporting")
        yield


def _is_reported(out: Path, since: float) -> bool:
    """Whether a shared report began to read records after `since` and after the last change of a run."""
    began = (out / REPORTED).stat().st_mtime if (out / REPORTED).exists() else 0.0
    return began > max([since, *_changes(out)])


def _changes(out: Path) -> Iterator[float]:
    """Times of the files of runs whose content is reported."""
    for folder in run_folders(out):
        for name in (RESULTS, DONE, ERROR):
            with suppress(FileNotFoundError):
                yield (folder / name).stat().st_mtime


def _text(own: Sequence[AccuracyRecord], baselines: Sequence[str] = SHOWN, states: Sequence[RunState] = ()) -> str:
    """Summaries and accuracy tables for the terminal; `baselines` and `states` as in `report` and `build_tables`.

    Without shipped ablations that use true labels, which the files have.
    """
    methods = {*METHODS.select(baselines), BASELINE} if baselines else ()
    shipped = [r for r in shipped_beside(own) if r.method in methods and not r.true_labels] if methods else []
    tables = build_tables([*own, *shipped], method_title, states, group=method_group)
    return tables_text([*summary_tables(tables, method_title, more_runs), *(table.table() for table in tables)])


def partial_report(out: Path, runs: Iterable[RunFolder], run_id: str, since: float) -> str:
    """Writes the report of an unfinished grid, without figures, which take long to draw.

    A report of another worker that has all records is left as it is: that worker has found the grid finished.

    Args:
        out: folder of runs.
        runs: of the grid; those without records are skipped.
        run_id: of the last run that has ended.
        since: as in `shared_report`.

    Returns:
        The first accuracy table of the setting of that run; empty if the run has no accuracy.

    Raises:
        UserError: a record or log cannot be read, or a file cannot be written.
    """
    with suppress(Busy), _reporting(out):  # Busy: another worker writes it
        if not _is_reported(out, since):
            report(out, figures=False)
    records = read_records([run.results for run in runs if run.results.exists()], warn=False)
    tables = build_tables(accuracies(records), method_title, bold=False, group=method_group)
    first = next((table for table in tables if any(record.run_id == run_id for record in table.records)), None)
    return "" if first is None else f"{first.title}:\n{terminal_text(first.table())}"


def table_state(folder: Path) -> RunState | None:
    """State of an unfinished or failed run, for tables; None for any other folder."""
    run = read_unfinished(folder)
    if run is None:
        return None
    title = run_title(*(run.settings[name] for name in ("method", "hparams", "dataset", "preset")))
    return RunState(status=run.status, reason=run.reason, run_id=run.run_id, title=title, data=None, **run.settings)
