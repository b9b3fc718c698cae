"""From tables, figures and run folders to what the page shows."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from core.errors import UserError
from reports import captions
from reports.comparable import Title
from reports.figures import Drawn
from reports.page.content import Cell, Column, Figure, Log, Row, Run, Section
from reports.tables.formats import Column as TableColumn
from reports.tables.formats import Entry, Table
from reports.tables.states import RunState
from run_store.contents import read_texts
from run_store.history import History
from run_store.records import AccuracyRecord, GeometryRecord, Record

STATES: tuple[Literal["unfinished"], Literal["failed"]] = ("unfinished", "failed")
LAST_LINES = 5  # of a log
SERIES = ("loss", "images_per_second", "auroc")
COSTS = r"train_hours|peak_memory_mb|probe_seconds|relative_images|relative_time"
# keys of the columns in which less is better; those of a combined table begin with their probe, those of a shape end in a part
FALLING = re.compile(rf"(.*_)?(group_std|class_std|head_tail_gap)|{COSTS}|gap_.*|(alignment|uniformity)(_.*)?")


def section(table: Table) -> Section:
    """A table of the page. Columns that are in the CSV alone stay there."""
    places = [place for place, column in enumerate(table.columns) if column.reach != "csv"]
    of, first, rest = table.of, places[0], places[1:]
    rows = []
    for row, behind in zip(table.rows, table.runs or [()] * len(table.rows), strict=True):
        name = row[first].parts(table.columns[first])[0]
        rows.append(Row(name, [_cell(row[place], table.columns[place]) for place in rest], behind))
    return Section(
        name=table.name,
        dataset=of.dataset if of else "",
        profile=of.profile if of else "",
        probe=table.probe,
        preset=of.preset if of else "",
        title=_short(table),
        caption=table.notes,
        scale=captions.scale(of).strip() if of else "",
        head=table.columns[first].head,
        columns=[_column(table, place) for place in rest],
        rows=rows,
    )


def figure(drawn: Drawn) -> Figure:
    """A figure of the page, read from its SVG file."""
    try:
        svg = drawn.svg.read_text()
    except OSError as error:
        raise UserError(f"cannot read {drawn.svg}: {error.strerror}; run the report again") from error
    return Figure(
        name=drawn.name,
        dataset=drawn.dataset,
        profile=drawn.profile,
        probe=drawn.probe,
        preset=drawn.preset,
        title=drawn.title,
        caption=drawn.caption,
        scale=captions.small_scale(drawn.preset).strip(),
        svg=svg,
    )


def run(folder: Path | None, records: Sequence[Record], title: Title, history: History | None = None) -> Run:
    """A run that is done, with what lies in its folder, where that has its name still, and what its log says."""
    first = records[0]
    return Run(
        id=first.run_id,
        method=title(first),
        dataset=first.dataset,
        profile=first.profile,
        preset=first.preset,
        split=first.split,
        seed=first.seed,
        status="done",
        facts=_facts(first),
        results={record.probe: _results(record) for record in records},
        **(_files(folder, history) if folder else {}),
    )


def begun(folder: Path, state: RunState, records: Sequence[Record] = (), history: History | None = None) -> Run:
    """A run that is not done, with what it has found so far."""
    return Run(
        id=state.run_id,
        method=state.title,
        dataset=state.dataset,
        profile=state.profile,
        preset=state.preset,
        split=state.split,
        seed=state.seed,
        status=state.status,
        facts=({"reason": state.reason} if state.reason else {}) | (_facts(records[0]) if records else {}),
        results={record.probe: _results(record) for record in records},
        **_files(folder, history),
    )


def _short(table: Table) -> str:
    """A title without what stands beside it on the page: data set, profile and probe."""
    title = table.title
    if table.of is not None:
        title = title.removeprefix(f"{captions.subject(table.of)}, ").removeprefix(f"{table.of.dataset}, ")
    title = title.removesuffix(f", probe {captions.probe_title(table.probe)}")
    return title[:1].upper() + title[1:]


def _column(table: Table, place: int) -> Column:
    column = table.columns[place]
    words = any(isinstance(row[place].value, str) for row in table.rows)
    return Column(column.head, column.group, FALLING.fullmatch(column.key) is not None, words)


def _facts(first: Record) -> dict[str, str]:
    device = re.sub(r"\b1 threads\b", "1 thread", first.device)
    hours = "" if first.train_seconds is None else f"{first.train_seconds / 3600:.2f} h on {device}"
    facts = {"backbone": first.backbone, "training": hours, "pool": first.pool or "", "passport": first.passport}
    return {name: fact for name, fact in facts.items() if fact}


def _cell(entry: Entry, column: TableColumn) -> Cell:
    text, spread = entry.parts(column)
    value = entry.value if isinstance(entry.value, int | float) else None
    note = "Some runs are missing: see below the table." if entry.marked else ""
    for state in STATES:
        if entry.words == state:
            return Cell(state=state)
    return Cell(text, value, f"± {spread}" if spread else "", entry.bold, note)


def _results(record: Record) -> dict[str, str]:
    """By name, the one that stands for all of them first."""
    if isinstance(record, AccuracyRecord):
        numbers = {
            "All": record.mean,
            "Many": record.many,
            "Medium": record.medium,
            "Few": record.few,
            "Std": record.group_std,
        }
        return {name: "empty" if value is None else f"{value:.1f}" for name, value in numbers.items()}
    assert isinstance(record, GeometryRecord)
    shapes = {"Alignment": record.alignment, "Uniformity": record.uniformity, "Effective rank": record.effective_rank}
    return {name: "empty" if (value := by["all"]) is None else f"{value:.3f}" for name, by in shapes.items()}


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
