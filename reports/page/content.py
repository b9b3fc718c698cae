"""What the page shows, as plain text and numbers. Any text may hold any characters: it is shown as it is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

METHOD = "Method"


@dataclass(frozen=True)
class Cell:
    """One number, or why there is none."""

    text: str = ""  # as printed, without its spread; empty: there is no value
    value: float | None = None  # to sort by; None or not finite sorts last, whichever way
    spread: str = ""  # uncertainty as printed, such as "± 1.2"
    bold: bool = False
    note: str = ""  # becomes a footnote of the table; equal notes share a mark
    state: Literal["", "unfinished", "failed"] = ""  # of the runs that should have given a number; said in the cell


@dataclass(frozen=True)
class Column:
    """What stands above a column, and which way its numbers are good."""

    title: str
    group: str = ""  # head above those of neighbouring columns of the same group
    lower_is_better: bool = False  # the first click brings the best to the top
    words: bool = False  # left-aligned and wrapped, where numbers are right-aligned in one line


@dataclass(frozen=True)
class Row:
    """One method, or what else the section's head says, with a cell for each column."""

    method: str  # as printed
    cells: Sequence[Cell]
    runs: Sequence[str] = ()  # ids of the runs behind it, which a click shows


@dataclass(frozen=True, kw_only=True)
class Section:
    """One table. What it is filtered by may be empty where it concerns all: it then stays, whatever is chosen."""

    name: str  # for links; keep it from one writing of the page to the next
    dataset: str  # tables and figures of one data set stand together
    profile: str = ""
    probe: str = ""
    preset: str = ""
    title: str
    caption: str = ""
    scale: str = ""  # a warning beside the title, such as "CPU-scale: not comparable with published numbers"
    head: str = METHOD  # of the first column; rows of anything else than methods stay, whichever method is looked for
    columns: Sequence[Column]  # those after the first
    rows: Sequence[Row]


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One figure, filtered as a section is."""

    name: str  # for links
    dataset: str
    profile: str = ""
    probe: str = ""
    preset: str = ""
    title: str
    caption: str = ""
    scale: str = ""
    svg: str  # the text of an SVG file


@dataclass(frozen=True)
class Log:
    """A run's log, of which the page keeps the course of some numbers and the last lines."""

    lines: int = 0  # of the whole log
    last: Sequence[str] = ()
    series: Mapping[str, Sequence[float | None]] = field(default_factory=dict)  # such as the loss, a value a line


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run, as a click on a method shows it."""

    id: str
    method: str  # as printed
    dataset: str
    profile: str = ""
    preset: str = ""
    split: int
    seed: int
    status: Literal["done", "unfinished", "failed"]
    facts: Mapping[str, str] = field(default_factory=dict)  # what else to say, such as {"training": "5 min on cpu"}
    results: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # by probe: {"ridge": {"All": "61.4"}}
    log: Log = Log()
    config: str = ""  # JSON
    passport: str = ""
    error: str = ""  # traceback


@dataclass(frozen=True)
class About:
    """The head of the page."""

    title: str
    facts: Mapping[str, str] = field(default_factory=dict)  # such as {"made": "2026-05-04", "records": "120"}
