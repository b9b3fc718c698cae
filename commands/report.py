"""The command `report`: tables, figures and HTML page of a folder of runs, from records and logs only."""

import logging
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from commands.titles import class_names, method_group, method_title, more_runs, run_title
from core.files import removed
from reports.figures import write_figures
from reports.page import About, adapter, write_page
from reports.tables import AccuracyTable, build_tables, summary_tables, tables_text, terminal_text, write_tables
from reports.tables.states import RunState
from reports.tables.summary import SUMMARY
from run_store.contents import read_unfinished, run_folders, run_id_of
from run_store.folder import RunFolder
from run_store.history import read_histories
from run_store.layout import DONE, ERROR, REPORTED, RESULTS
from run_store.lease import Activity, Busy, file_clock, hold
from run_store.records import Record, accuracies, read_records, read_runs

log = logging.getLogger(__name__)

PAGE = "report.html"
FIGURES = "figures"
BUSY_SECONDS = 1.0  # between looks at the report of another worker
MISSING = "missing-runs"  # name of the table of unfinished and failed runs


@dataclass(frozen=True)
class Report:
    """Result of `report`."""

    text: str  # accuracy tables for a terminal
    paths: list[Path]  # written folders and files
    by_another: bool = False  # whether another worker has written them


def report(out: Path, run_ids: Sequence[str] | None = None, *, figures: bool = True) -> Report | None:
    """Writes tables, figures and page of the runs under `out`; returns None if there are no records and no runs.

    Args:
        out: folder of runs.
        run_ids: runs of the returned text; None: all.
        figures: whether to draw figures and include them in the page.

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
    states = {folder: state for folder in folders if (state := run_state(folder)) is not None}
    if not records and not states:
        return None
    accuracy_tables = build_tables(accuracies(records), method_title, list(states.values()), group=method_group)
    tables = write_tables(records, out / "tables", method_title, list(states.values()), accuracy_tables, more_runs)
    main = {table.setting: table.name for table in reversed(accuracy_tables)}  # the first table of each setting
    lead = {*main.values(), *(table.name for table in tables if table.name.startswith(SUMMARY))}
    histories = read_histories(folder for folder in folders if folder in states or run_id_of(folder) in by_id)
    saved = write_figures(records, histories, out / FIGURES, method_title, class_names) if figures else []
    folder_of = {run_id_of(folder): folder for folder in folders}
    logs = {history.folder: history for history in histories}
    unfinished = {state.run_id for state in states.values()}
    finished = [(folder_of.get(run_id), found) for run_id, found in by_id.items() if run_id not in unfinished]
    runs = [
        adapter.finished_run(folder, found, method_title, logs.get(folder) if folder else None) for folder, found in finished
    ]
    runs += [adapter.unfinished_run(folder, s, by_id.get(s.run_id, ()), logs.get(folder)) for folder, s in states.items()]
    write_page(
        out / PAGE,
        [
            adapter.table_section(table, lead=table.name in lead)
            for table in tables
            if table.name != MISSING  # the page has its own list of these runs
        ],
        [adapter.figure(one) for one in saved],
        runs,
        About("Self-supervised learning on long-tailed images", facts={"records": f"{len(records):,}"}),
    )
    if run_ids is not None:
        chosen = [one for one in accuracies(records) if one.run_id in run_ids]
        accuracy_tables = build_tables(chosen, method_title, group=method_group)
    return Report(_text(accuracy_tables), [out / "tables", *([out / FIGURES] if saved else []), out / PAGE])


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
    while True:
        if _last_report(out) > max([since, *_changes(out)]):
            paths = [path for path in (out / "tables", out / FIGURES, out / PAGE) if path.exists()]
            return Report(_tables_of(out, run_ids), paths, by_another=True)
        try:
            with hold(out) as lease:
                lease.describe = lambda: Activity("reporting")
                began = file_clock(out)
                written = report(out, run_ids)
                (out / REPORTED).touch()
                os.utime(out / REPORTED, (began, began))
                return written
        except Busy:
            time.sleep(BUSY_SECONDS)


def _last_report(out: Path) -> float:
    """When the last shared report began to read records; 0 if there is none."""
    return (out / REPORTED).stat().st_mtime if (out / REPORTED).exists() else 0.0


def _changes(out: Path) -> Iterator[float]:
    """Times of the files of runs whose content is reported."""
    for folder in run_folders(out):
        for name in (RESULTS, DONE, ERROR):
            with suppress(FileNotFoundError):
                yield (folder / name).stat().st_mtime


def _tables_of(out: Path, run_ids: Sequence[str] | None) -> str:
    """Text of the accuracy tables of runs; None: of all."""
    records = read_runs(out, warn=False)
    chosen = [record for record in accuracies(records) if run_ids is None or record.run_id in run_ids]
    return _text(build_tables(chosen, method_title, group=method_group))


def _text(tables: Sequence[AccuracyTable]) -> str:
    """Summaries and accuracy tables for the terminal."""
    return tables_text([*summary_tables(tables, method_title, more_runs), *(table.table() for table in tables)])


def partial_report(out: Path, runs: Iterable[RunFolder]) -> str:
    """Returns the first accuracy table of each setting of an unfinished grid, and writes the page without figures.

    An existing page with figures is not replaced before the end of the grid.

    Args:
        out: folder of runs.
        runs: of the grid; those without records are skipped.

    Raises:
        UserError: a record or log cannot be read, or a file cannot be written.
    """
    if not (out / FIGURES).exists():
        report(out, figures=False)
    records = read_records([run.results for run in runs if run.results.exists()], warn=False)
    first: dict[str, AccuracyTable] = {}
    for table in build_tables(accuracies(records), method_title, bold=False, group=method_group):
        first.setdefault(table.setting, table)
    return "\n\n".join(f"{table.title}:\n{terminal_text(table.table())}" for table in first.values())


def run_state(folder: Path) -> RunState | None:
    """State of an unfinished or failed run, for tables; None for any other folder."""
    run = read_unfinished(folder)
    if run is None:
        return None
    title = run_title(*(run.settings[name] for name in ("method", "hparams", "dataset", "preset")))
    return RunState(status=run.status, reason=run.reason, run_id=run.run_id, title=title, data=None, **run.settings)
