"""A table as LaTeX, with the packages that the document needs in a comment."""

import re
from collections.abc import Sequence
from itertools import groupby

from reports import captions
from reports.tables.table import Cell, Column, Table, single_line
from reports.tables.text import warning_lines

ESCAPES = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "_": r"\_",
    "%": r"\%",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
    "×": r"$\times$",
    "†": r"$^\dagger$",
    "τ": r"$\tau$",
    "α": r"$\alpha$",
    "→": r"$\to$",
    "≤": r"$\le$",
    "≥": r"$\ge$",
    "−": "$-$",
    "–": r"\textendash{}",
    "—": r"\textemdash{}",
}
# LaTeX's default fonts have the letters up to this one, but not the signs between them
LAST_LETTER = "\N{LATIN SMALL LETTER Y WITH DIAERESIS}"
MISSING_SIGNS = frozenset(map(chr, range(0x80, 0xC0))) | {"÷", "Ð", "ð", "Þ", "þ"}
# estimated width in characters, 3 between columns, above which a table spans both columns of a page, and is set in \tiny
TWO_COLUMNS, TINY = 44, 110


def latex_text(table: Table) -> str:
    """A booktabs table with title, caption and warnings, without the details except for the origin of shipped runs.

    A wide table spans both columns of a page.
    """
    indices, is_text = table.printed_columns(latex=True), table.text_columns()
    columns = [table.columns[i] for i in indices]
    body = [[_plain(row[i], table.columns[i]) for i in indices] for row in table.rows]
    heads = [_head_lines(column.head, max(map(len, cells), default=0)) for column, *cells in zip(columns, *body, strict=True)]
    width = sum(3 + max(map(len, cells)) for cells in zip((max(lines, key=len) for lines in heads), *body, strict=True))
    wide = width > TWO_COLUMNS
    environment = "table*" if wide else "table"
    size = r"\tiny\setlength{\tabcolsep}{2pt}" if width > TINY else r"\scriptsize\setlength{\tabcolsep}{3pt}"
    return "\n".join(
        [
            r"% needs \usepackage{booktabs}",
            rf"\begin{{{environment}}}[t]",
            r"\centering",
            rf"\caption{{{latex_escaped(captions.with_origins(table.full_caption, table.records))}}}",
            rf"\label{{tab:{table.name}}}",
            *([size] if wide else []),
            rf"\begin{{tabular}}{{{''.join('l' if is_text[i] else 'r' for i in indices)}}}",
            r"\toprule",
            *_group_heads(columns),
            " & ".join(map(_head, heads)) + r" \\",
            r"\midrule",
            *(" & ".join(_cell(row[i], table.columns[i], wide) for i in indices) + r" \\" for row in table.rows),
            r"\bottomrule",
            r"\end{tabular}",
            *(rf"\par\footnotesize {latex_escaped(line)}" for line in warning_lines(table)),
            rf"\end{{{environment}}}",
            "",
        ]
    )


def latex_escaped(text: str) -> str:
    """`text` in one line with LaTeX syntax escaped; characters that the default fonts lack become question marks."""
    signs = [ESCAPES.get(sign, "?" if sign > LAST_LETTER or sign in MISSING_SIGNS else sign) for sign in single_line(text)]
    escaped = re.sub("-(?=-)", "-{}", "".join(signs))  # LaTeX sets two hyphens as a dash
    # at the start of a row, a bracket or a star would be an option of the `\\` before it
    return f"{{}}{escaped}" if escaped.startswith(("[", "*")) else escaped


def _plain(cell: Cell, column: Column) -> str:
    text, std = cell.format(column)
    return text + (f" ± {std}" if std else "")


def _cell(cell: Cell, column: Column, wide: bool) -> str:
    text, std = cell.format(column)
    text = latex_escaped(text)
    spread = (rf"$_{{\pm{std}}}$" if wide else rf" $\pm$ {std}") if std else ""
    return (rf"\textbf{{{text}}}" if cell.bold else text) + spread + (r"$^\dagger$" if cell.dagger else "")


def _head_lines(head: str, width: int) -> list[str]:
    """The heading in one line, or split at hyphens if it is longer than 8 characters and than its cells."""
    return re.findall("[^-]+-?|-", head) if len(head) > max(width, 8) else [head]


def _head(lines: Sequence[str]) -> str:
    escaped = [latex_escaped(line) for line in lines]
    return escaped[0] if len(lines) == 1 else r"\shortstack{" + r" \\ ".join(escaped) + "}"


def _group_heads(columns: Sequence[Column]) -> list[str]:
    """The line of group headings and the line of rules below it; no line if there are no groups."""
    if not any(column.group for column in columns):
        return []
    heads, rules, start = [], [], 1
    for group, members in groupby(columns, lambda column: column.group):
        width = len(list(members))
        heads.append(rf"\multicolumn{{{width}}}{{c}}{{{latex_escaped(group)}}}" if group else " & ".join([""] * width))
        rules += [rf"\cmidrule(lr){{{start}-{start + width - 1}}}"] if group else []
        start += width
    return [" & ".join(heads) + r" \\", " ".join(rules)]
