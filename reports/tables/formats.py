"""One printed table, and its forms: CSV, Markdown, LaTeX, and text for the terminal."""

import csv
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Literal

from reports.tables.escapes import latex_escaped, markdown_escaped, plain
from run_store.records import Record

Reach = Literal["everywhere", "text", "csv"]  # `text` is all but LaTeX, which has to stay narrow; `csv` is CSV alone

MARK = "†"  # beside a mean of fewer runs than there should be
NARROW, WIDE = 44, 110  # letters of a line, 3 between columns, beyond which LaTeX spans both columns, and sets tiny type


@dataclass(frozen=True)
class Column:
    """What stands in a column, and how its numbers are printed."""

    head: str
    key: str  # name in CSV
    group: str = ""  # head above those of neighbouring columns of the same group
    decimals: int = 1
    spread: bool = False  # whether the CSV has a further column of deviations, `key_sd`
    absent: str = "empty"  # what is printed where there is no number; CSV leaves it empty
    reach: Reach = "everywhere"

    @property
    def full_head(self) -> str:
        """The head where heads have one line."""
        return f"{self.group} {self.head}".strip()


@dataclass(frozen=True)
class Entry:
    """One place of a table: a number with its deviation, or words."""

    value: float | int | str | None
    sd: float | None = None
    bold: bool = False
    marked: bool = False  # with MARK
    words: str | None = None  # printed in place of a number that is absent; CSV leaves it empty

    def parts(self, column: Column) -> tuple[str, str]:
        """The text and that of the deviation, which may be empty; without mark and plus-minus sign."""
        if self.value is None:
            return (column.absent if self.words is None else self.words), ""
        if isinstance(self.value, str):
            return plain(self.value), ""
        if isinstance(self.value, int):
            return f"{self.value:,}", ""
        return _number(self.value, column.decimals), "" if self.sd is None else _number(self.sd, column.decimals)


@dataclass(frozen=True)
class Table:
    """One table as it is printed."""

    name: str  # of its files, without suffix
    title: str  # what it shows
    notes: str  # all else that a reader needs to place the numbers
    columns: Sequence[Column]
    rows: Sequence[Sequence[Entry]]  # an entry a column
    of: Record | None = field(default=None, repr=False)  # any record of its data and preset; None: of several
    probe: str = ""  # where it is of a single one
    runs: Sequence[Sequence[str]] = ()  # ids of the runs behind each row; empty where rows are no methods

    @property
    def caption(self) -> str:
        """Title and notes, in plain text."""
        return f"{self.title}. {self.notes}"

    def reaching(self, form: Literal["text", "latex"]) -> list[int]:
        """Places of the columns that a form prints."""
        return [
            place
            for place, column in enumerate(self.columns)
            if column.reach == "everywhere" or (form == "text" and column.reach == "text")
        ]


def csv_text(table: Table) -> str:
    """Numbers as numbers, rounded to four decimals, deviations in columns of their own; one row of heads."""
    heads = [name for column in table.columns for name in _names(column)]
    lines = []
    for row in table.rows:
        line: list[object] = []
        for column, entry in zip(table.columns, row, strict=True):
            line.append(_exact(entry.value))
            if column.spread:
                line.append(_exact(entry.sd))
        lines.append(line)
    return rows_csv(heads, lines)


def rows_csv(heads: Sequence[str], lines: Sequence[Sequence[object]]) -> str:
    """CSV of any values; None is an empty field."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(heads)
    writer.writerows(lines)
    return file.getvalue()


def markdown_text(table: Table) -> str:
    """A Markdown table with its caption below."""
    places = table.reaching("text")
    heads = [markdown_escaped(table.columns[place].full_head) for place in places]
    body = [[_joined(row[place], table.columns[place], markdown_escaped) for place in places] for row in table.rows]
    sides = _sides(table, places)
    widths = [max(3, *map(len, column)) for column in zip(heads, *body, strict=True)]
    rule = [f":{'-' * (n - 1)}" if side == "<" else f"{'-' * (n - 1)}:" for side, n in zip(sides, widths, strict=True)]
    lines = [f"| {' | '.join(_padded(line, sides, widths))} |" for line in (heads, rule, *body)]
    return "\n".join(lines) + f"\n\n{markdown_escaped(table.caption)}\n"


def terminal_text(table: Table) -> str:
    """Aligned columns for the terminal, without title and notes."""
    places = table.reaching("text")
    heads = [table.columns[place].full_head for place in places]
    body = [[_joined(row[place], table.columns[place], plain) for place in places] for row in table.rows]
    sides = _sides(table, places)
    widths = [max(map(len, column)) for column in zip(heads, *body, strict=True)]
    lines = [heads, ["-" * width for width in widths], *body]
    return "\n".join("  ".join(_padded(line, sides, widths)).rstrip() for line in lines)


def latex_text(table: Table) -> str:
    r"""A booktabs table that compiles as it is; it needs \usepackage{booktabs}. A wide one spans both columns of a page."""
    places = table.reaching("latex")
    columns = [table.columns[place] for place in places]
    body = [[_joined(row[place], table.columns[place], plain) for place in places] for row in table.rows]
    stacks = [_stacked(column.head, max(map(len, cells), default=0)) for column, *cells in zip(columns, *body, strict=True)]
    letters = sum(3 + max(map(len, cells)) for cells in zip((max(of, key=len) for of in stacks), *body, strict=True))
    wide = letters > NARROW
    around = "table*" if wide else "table"
    lines = [rf"\begin{{{around}}}[t]", r"\centering"]
    lines += (
        [r"\tiny\setlength{\tabcolsep}{2pt}" if letters > WIDE else r"\scriptsize\setlength{\tabcolsep}{3pt}"] if wide else []
    )
    lines += [rf"\caption{{{latex_escaped(table.title)}.}}", rf"\label{{tab:{table.name}}}"]
    sides = "".join(_sides(table, places)).replace("<", "l").replace(">", "r")
    lines += [rf"\begin{{tabular}}{{{sides}}}", r"\toprule", *_latex_groups(columns)]
    lines += [" & ".join(map(_latex_head, stacks)) + r" \\", r"\midrule"]
    for row in table.rows:
        lines.append(" & ".join(_latex_entry(row[place], table.columns[place], wide) for place in places) + r" \\")
    # below, not in \caption: LaTeX sets a caption in one line first, which must not be longer than its largest length
    notes = [r"\par\smallskip", rf"\parbox{{\linewidth}}{{\footnotesize {latex_escaped(table.notes)}}}"]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", *notes, rf"\end{{{around}}}"]) + "\n"


FORMS = {"csv": csv_text, "md": markdown_text, "tex": latex_text}


def _names(column: Column) -> list[str]:
    return [column.key, f"{column.key}_sd"] if column.spread else [column.key]


def _exact(value: float | int | str | None) -> object:
    return round(value, 4) if isinstance(value, float) else value


def _number(value: float, decimals: int) -> str:
    return f"{round(value, decimals) + 0.0:,.{decimals}f}"  # no minus before a zero


def _sides(table: Table, places: Sequence[int]) -> list[str]:
    """To which side the columns are aligned: words to the left, numbers to the right."""
    return ["<" if any(isinstance(row[place].value, str) for row in table.rows) else ">" for place in places]


def _padded(line: Sequence[str], sides: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [f"{text:{side}{width}}" for text, side, width in zip(line, sides, widths, strict=True)]


def _joined(entry: Entry, column: Column, escaped: Callable[[str], str]) -> str:
    text, sd = entry.parts(column)
    joined = escaped(text) + (f" ± {sd}" if sd else "")
    return (f"**{joined}**" if entry.bold else joined) + (MARK if entry.marked else "")


def _latex_entry(entry: Entry, column: Column, wide: bool) -> str:
    text, sd = entry.parts(column)
    text = latex_escaped(text)
    index = (rf"$_{{\pm{sd}}}$" if wide else rf" $\pm$ {sd}") if sd else ""
    return (rf"\textbf{{{text}}}" if entry.bold else text) + index + (r"$^\dagger$" if entry.marked else "")


def _stacked(head: str, width: int) -> list[str]:
    """The lines of a head: several where it is longer than its cells and has hyphens, as names of probes have."""
    return re.findall("[^-]+-?|-", head) if len(head) > max(width, 8) else [head]


def _latex_head(lines: Sequence[str]) -> str:
    escaped = [latex_escaped(line) for line in lines]
    return escaped[0] if len(lines) == 1 else r"\shortstack{" + r" \\ ".join(escaped) + "}"


def _latex_groups(columns: Sequence[Column]) -> list[str]:
    """The upper heads and the rules below them, if there are any."""
    if not any(column.group for column in columns):
        return []
    heads, rules, start = [], [], 1
    for group, members in groupby(columns, lambda column: column.group):
        width = len(list(members))
        heads.append(rf"\multicolumn{{{width}}}{{c}}{{{latex_escaped(group)}}}" if group else " & ".join([""] * width))
        rules += [rf"\cmidrule(lr){{{start}-{start + width - 1}}}"] if group else []
        start += width
    return [" & ".join(heads) + r" \\", " ".join(rules)]
