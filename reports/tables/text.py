"""A table as CSV, Markdown and terminal text."""

import csv
import io
from collections.abc import Callable, Sequence

from tabulate import tabulate

from reports import captions
from reports.tables.table import DAGGER, Cell, Column, Table, single_line, to_decimals

MARKDOWN_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"} | {sign: f"\\{sign}" for sign in "\\|*_`~$"}


def csv_text(table: Table) -> str:
    """One header line; numbers to four decimals, standard deviations as columns of their own, missing values empty.

    The last column of a table of methods, `note`, has the sentences of `captions.method_notes` on the row.
    """
    lines = []
    of_run = {record.run_id: record for record in table.records}
    for place, row in enumerate(table.rows):
        line: list[object] = []
        for column, cell in zip(table.columns, row, strict=True):
            line += [rounded(cell.value), rounded(cell.std)] if column.std else [rounded(cell.value)]
        if table.run_ids:
            line.append(captions.method_notes(of_run[run] for run in table.run_ids[place] if run in of_run))
        lines.append(line)
    heads = [name for column in table.columns for name in ([column.key, f"{column.key}_sd"] if column.std else [column.key])]
    return csv_lines([*heads, *(["note"] if table.run_ids else [])], lines)


def csv_lines(heads: Sequence[str], lines: Sequence[Sequence[object]]) -> str:
    """CSV text; None becomes an empty field."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(heads)
    writer.writerows(lines)
    return file.getvalue()


def markdown_text(table: Table) -> str:
    """A pipe table, the caption, and warnings and details as paragraphs of their own."""
    texts = (table.full_caption, *warning_lines(table), table.details)
    paragraphs = [_aligned(table, "pipe", markdown_escaped), *map(markdown_escaped, texts)]
    return "\n\n".join(filter(None, paragraphs)) + "\n"


def warning_lines(table: Table) -> list[str]:
    """The warnings of a table as sentences."""
    return [f"Warning: {warning}." for warning in table.warnings]


def terminal_text(table: Table) -> str:
    """Aligned columns without title and caption."""
    return "\n".join(line.rstrip() for line in _aligned(table, "simple", single_line).splitlines())


def markdown_escaped(text: str) -> str:
    """`text` in one line with Markdown and HTML syntax escaped, also inside a table."""
    escaped = "".join(MARKDOWN_ESCAPES.get(letter, letter) for letter in single_line(text))
    return escaped.replace("](", "]\\(")  # no link


def _aligned(table: Table, layout: str, escape: Callable[[str], str]) -> str:
    indices, is_text = table.printed_columns(), table.text_columns()
    heads = [escape(table.columns[i].full_head) for i in indices]
    body = [[_cell(row[i], table.columns[i], escape) for i in indices] for row in table.rows]
    align = ["left" if is_text[i] else "right" for i in indices]
    return tabulate(body, heads, layout, disable_numparse=True, colalign=align if body else None)


def _cell(cell: Cell, column: Column, escape: Callable[[str], str]) -> str:
    text, std = cell.format(column)
    text = escape(text) + (f" ± {std}" if std else "")
    return (f"**{text}**" if cell.bold else text) + (DAGGER if cell.dagger else "")


def rounded(value: object) -> object:
    """A float to the four decimals of the CSV; other values unchanged."""
    return to_decimals(value, 4) if isinstance(value, float) else value
