"""Content of the page, as plain text and numbers; the page escapes all text."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

METHOD = "Method"


@dataclass(frozen=True)
class Cell:
    """A number, text, or the state of the runs that have none."""

    text: str = ""  # as printed, without standard deviation; empty without a value
    value: float | None = None  # sort key; None and non-finite values come last in both directions
    spread: str = ""  # standard deviation as printed: "± 1.2"
    bold: bool = False
    note: str = ""  # footnote; equal notes share a mark
    state: Literal["", "unfinished", "failed"] = ""  # of the runs, printed if there is no value


@dataclass(frozen=True)
class Column:
    """Heading of a column and direction of its numbers."""

    title: str
    group: str = ""  # common heading of neighbouring columns
    lower_is_better: bool = False  # the first click on the heading sorts ascending
    is_text: bool = False  # left-aligned and wrapped


@dataclass(frozen=True)
class Row:
    """One method, or another item named by the section's `head`, with a cell per column."""

    method: str  # as printed
    cells: Sequence[Cell]
    runs: Sequence[str] = ()  # run ids, shown by a click on the method


@dataclass(frozen=True, kw_only=True)
class Section:
    """One table. Fields used as filters may be empty: the table then passes that filter."""

    name: str  # anchor; stable between versions of the page
    dataset: str  # tables and figures are grouped by data set
    variant: str = ""
    probe: str = ""
    preset: str = ""
    epochs: str = ""
    title: str
    caption: str = ""  # at most three lines
    details: str = ""  # behind a toggle
    scale: str = ""  # label beside the title
    warnings: Sequence[str] = ()  # on runs of the table
    lead: bool = True  # whether the table is always open; others of a data set, and its figures, are behind a toggle
    head: str = METHOD  # of the first column; the method filter applies only to rows of methods
    columns: Sequence[Column]  # without the first column
    rows: Sequence[Row]


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One figure, with the filters of a section."""

    name: str  # anchor
    dataset: str
    variant: str = ""
    probe: str = ""
    preset: str = ""
    epochs: str = ""
    title: str
    caption: str = ""
    details: str = ""
    scale: str = ""
    svg: str  # text of an SVG file


@dataclass(frozen=True)
class Log:
    """Series and last lines of a run's training log."""

    lines: int = 0  # number of lines of the log
    last: Sequence[str] = ()
    series: Mapping[str, Sequence[float | None]] = field(default_factory=dict)  # by name, e.g. loss; one value per line


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run, shown by a click on its method."""

    id: str
    method: str  # as printed
    dataset: str
    variant: str = ""
    preset: str = ""
    split: int
    seed: int
    status: Literal["done", "unfinished", "failed"]
    facts: Mapping[str, str] = field(default_factory=dict)  # further facts: {"training": "5 min on cpu"}
    results: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # by probe: {"ridge": {"All": "61.4"}}
    log: Log = Log()
    config: str = ""  # JSON
    passport: str = ""
    error: str = ""  # traceback


@dataclass(frozen=True)
class About:
    """Title and facts of the page header."""

    title: str
    facts: Mapping[str, str] = field(default_factory=dict)  # e.g. {"records": "120"}
