"""Tables, figures and run folders as content of the page."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from core.errors import UserError
from core.terminal import clock
from reports import captions
from reports.comparable import Title
from reports.figures import SavedFigure
from reports.page.content import Cell, Column, Figure, Log, Row, Run, Section
from reports.shipped_record import ShippedRecord
from reports.tables.accuracy import METHOD_GROUP
from reports.tables.analysis import GEOMETRY
from reports.tables.states import RunState
from reports.tables.table import Cell as TableCell
from reports.tables.table import Column as TableColumn
from reports.tables.table import Table, fixed
from run_store.contents import read_texts
from run_store.history import History
from run_store.records import AccuracyRecord, GeometryRecord, Record

STATES: tuple[Literal["unfinished"], Literal["failed"]] = ("unfinished", "failed")
LAST_LINES = 5  # of a log
SERIES = ("loss", "images_per_second", "auroc")
COSTS = r"mean_rank|train_(minutes|seconds)|peak_memory_mb|probe_seconds|relative_images|relative_time"
# column keys; those of combined tables start with the probe, those of geometry end with the group
LOWER_IS_BETTER = re.compile(rf"(.*_)?(group_std|class_std|head_tail_gap)|{COSTS}|gap_.*|(alignment|uniformity)(_.*)?")


def table_section(table: Table, *, lead: bool = True) -> Section:
    """The section of a table, without the columns that are in the CSV only, numbers before the group of methods.

    On a phone only the first columns are in view without scrolling. Shipped runs are not linked, as the page does not describe
    them. `lead`: see `Section`.
    """
    first, *rest = table.printed_columns()
    rest.sort(key=lambda place: table.columns[place].key == METHOD_GROUP)
    shipped = {record.run_id for record in table.records if isinstance(record, ShippedRecord)}
    run_ids = [[id_ for id_ in ids if id_ not in shipped] for ids in table.run_ids or [()] * len(table.rows)]
    is_text = table.text_columns()
    scale = captions.scale(table.records[0]) if table.records else ""
    return Section(
        name=table.name,
        **{name: table.shared(name) for name in ("dataset", "variant", "preset")},
        epochs=_number(table.shared("epochs")),
        probe=captions.probe_title(table.probe),
        title=_short_title(table),
        caption=captions.without(table.caption, scale),
        details=table.details,
        scale=scale,
        warnings=table.warnings,
        lead=lead,
        head=table.columns[first].head,
        columns=[_column(table.columns[i], is_text[i]) for i in rest],
        rows=[
            Row(row[first].format(table.columns[first])[0], [_cell(row[i], table.columns[i]) for i in rest], ids)
            for row, ids in zip(table.rows, run_ids, strict=True)
        ],
    )


def figure(saved: SavedFigure) -> Figure:
    """A figure of the page with its SVG file. Raises UserError if the file cannot be read."""
    try:
        svg = saved.svg.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot read {saved.svg}: {error.strerror}; run the report again") from error
    return Figure(
        name=saved.name,
        dataset=saved.dataset,
        variant=saved.variant,
        probe=captions.probe_title(saved.probe),
        preset=saved.preset,
        epochs=_number(saved.epochs),
        title=saved.title,
        caption=captions.without(saved.caption, saved.scale),
        details=saved.details,
        scale=saved.scale,
        svg=svg,
    )


def finished_run(folder: Path | None, records: Sequence[Record], title: Title, history: History | None = None) -> Run:
    """A finished run with its records and, if its folder is known, its files."""
    first = records[0]
    return Run(
        id=first.run_id,
        method=title(first),
        **_run_settings(first),
        status="done",
        facts=_facts(first),
        results={captions.probe_title(record.probe): _results(record) for record in records},
        **(_files(folder, history) if folder else {}),
    )


def unfinished_run(folder: Path, state: RunState, records: Sequence[Record] = (), history: History | None = None) -> Run:
    """An unfinished or failed run with the records it has so far."""
    return Run(
        id=state.run_id,
        method=state.title,
        **_run_settings(state),
        status=state.status,
        facts=({"reason": state.reason} if state.reason else {}) | (_facts(records[0]) if records else {}),
        results={captions.probe_title(record.probe): _results(record) for record in records},
        **_files(folder, history),
    )


def _run_settings(source: Record | RunState) -> dict[str, Any]:
    return {name: getattr(source, name) for name in ("dataset", "variant", "preset", "split", "seed")}


def _number(value: int | str | None) -> str:
    """A number of epochs; empty if it is unknown or not one number."""
    return "" if value is None else str(value)


def _short_title(table: Table) -> str:
    """The title without data set, variant and probe, which the page shows beside it."""
    title = table.title
    if table.records:
        first = table.records[0]
        title = title.removeprefix(f"{captions.subject(first)}, ").removeprefix(f"{first.dataset}, ")
    title = title.removesuffix(f", probe {captions.probe_title(table.probe)}")
    return title[:1].upper() + title[1:]


def _column(column: TableColumn, is_text: bool) -> Column:
    return Column(column.head, column.group, LOWER_IS_BETTER.fullmatch(column.key) is not None, is_text)


def _facts(record: Record) -> dict[str, str]:
    device = re.sub(r"\b1 threads\b", "1 thread", record.device)
    time = "" if record.train_seconds is None else f"{clock(record.train_seconds)} on {device}"
    facts = {
        "warning": "; ".join(record.warnings),
        "backbone": record.backbone,
        "training": time,
        "pool": record.pool or "",
        "passport": record.passport,
    }
    return {name: fact for name, fact in facts.items() if fact}


def _cell(cell: TableCell, column: TableColumn) -> Cell:
    text, std = cell.format(column)
    for state in STATES:
        if cell.placeholder == state:
            return Cell(state=state)
    value = cell.value if isinstance(cell.value, int | float) else None
    note = "Runs are missing: see the details." if cell.dagger else ""
    return Cell(text, value, f"± {std}" if std else "", cell.bold, note)


def _results(record: Record) -> dict[str, str]:
    """Printed values by name; the first one is shown in the summary line of a run."""
    if isinstance(record, AccuracyRecord):
        numbers = {
            "All": record.mean,
            "Many": record.many,
            "Medium": record.medium,
            "Few": record.few,
            "Std": record.group_std,
        }
        return {name: "empty" if value is None else fixed(value, 1) for name, value in numbers.items()}
    assert isinstance(record, GeometryRecord)
    measures = {head: getattr(record, name)["all"] for name, head in GEOMETRY.items()}
    return {name: "empty" if value is None else fixed(value, 3) for name, value in measures.items()}


def _files(folder: Path, history: History | None) -> dict:
    """Log, configuration, passport and error in the folder of a run; empty where a file is missing."""
    texts = read_texts(folder)
    series = {name: getattr(history, name).tolist() for name in SERIES} if history else {}
    return {
        "log": Log(len(texts.log), texts.log[-LAST_LINES:], series),
        "config": texts.config,
        "passport": texts.passport,
        "error": texts.error,
    }
