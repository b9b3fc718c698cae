"""A table of results: columns, cells, caption, and run ids."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from core.words import are, counted
from run_store.records import Record

MAX_WARNINGS = 5  # printed below a table
DAGGER = "†"  # after a mean over fewer runs than the grid has


def single_line(text: str) -> str:
    """`text` without control characters and line breaks, runs of spaces as one."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def to_decimals(value: float, decimals: int) -> float:
    """`value` to some decimals, never a negative zero."""
    return round(value, decimals) + 0.0  # turns -0.0 into 0.0


def fixed(value: float, decimals: int) -> str:
    """`value` as printed: never a negative zero, thousands separated by commas, with a minus sign instead of a hyphen."""
    return with_minus(f"{to_decimals(value, decimals):,.{decimals}f}")


def signed(value: float, decimals: int = 1) -> str:
    """`value` in ASCII with its sign, without one if it is rounded to 0."""
    return f"{round(value, decimals):+.{decimals}f}" if round(value, decimals) else f"{0:.{decimals}f}"


def with_minus(numbers: str) -> str:
    """Text of numbers with minus signs instead of hyphens."""
    return numbers.replace("-", "\N{MINUS SIGN}")


@dataclass(frozen=True)
class Column:
    """Heading of a column, its name in the CSV, and the format of its numbers."""

    head: str
    key: str  # name in the CSV
    group: str = ""  # common heading of neighbouring columns
    decimals: int = 1
    std: bool = False  # whether the CSV has a second column `<key>_sd`
    std_printed: bool = True  # whether other outputs have the standard deviation
    placeholder: str = "empty"  # printed for a missing value; the CSV field is empty
    csv_only: bool = False
    in_latex: bool = True  # false for wide columns
    is_difference: bool = False  # text of numbers with signs, in ASCII
    never_zero: bool = False  # a positive number that is rounded to 0 is printed as `<0.1`

    @property
    def full_head(self) -> str:
        """Group and heading in one line."""
        return f"{self.group} {self.head}".strip()


@dataclass(frozen=True)
class Cell:
    """A number with its standard deviation, or text."""

    value: float | int | str | None
    std: float | None = None
    bold: bool = False
    dagger: bool = False
    placeholder: str | None = None  # replaces the column's for a missing value, e.g. "failed"

    def format(self, column: Column) -> tuple[str, str]:
        """The value and its standard deviation as text; the latter is empty if there is none or it is not printed."""
        if self.value is None:
            return (column.placeholder if self.placeholder is None else self.placeholder), ""
        if isinstance(self.value, str):
            return with_minus(self.value) if column.is_difference else single_line(self.value), ""
        if isinstance(self.value, int):
            return f"{self.value:,}", ""
        smallest = float(f"1e-{column.decimals}")
        if column.never_zero and 0 < self.value < smallest / 2:
            return f"<{smallest:.{column.decimals}f}", ""
        std = self.std if column.std_printed else None
        return fixed(self.value, column.decimals), "" if std is None else fixed(std, column.decimals)


@dataclass(frozen=True)
class Table:
    """One table, in plain text and numbers."""

    name: str  # distinct, and equal in every report of the same records; anchor on the page
    title: str  # what the table shows; no full stop
    caption: str  # n, splits, seeds, meaning of bold, scale: with the title at most about 330 characters
    details: str  # data, training, protocol, definitions
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]  # one cell per column
    records: Sequence[Record] = ()
    probe: str = ""  # empty for a table over several probes or none
    run_ids: Sequence[Sequence[str]] = ()  # per row; empty if rows are not methods
    file: str = ""  # what is in the table, in a few words, such as `linear-probe`: basis of `file_names`

    @property
    def full_caption(self) -> str:
        """Title and caption."""
        return f"{self.title}. {self.caption}".strip()

    @property
    def warnings(self) -> list[str]:
        """Warnings of the training of the runs, a line each; the first few if there are many."""
        lines = {f"{r.method} split {r.split} seed {r.seed}: {warning}": None for r in self.records for warning in r.warnings}
        more = len(lines) - MAX_WARNINGS
        return [
            *list(lines)[:MAX_WARNINGS],
            *([f"{counted(more, 'more warning')} {are(more)} in results.csv"] if more > 0 else []),
        ]

    def shared(self, field: str) -> Any:
        """The value of a field of the records if it is the same in all of them, else an empty string."""
        values = [getattr(record, field) for record in self.records]
        return values[0] if values and all(value == values[0] for value in values) else ""

    def printed_columns(self, *, latex: bool = False) -> list[int]:
        """Indices of the columns that are printed; those that are in the CSV only are left out."""
        return [i for i, column in enumerate(self.columns) if not column.csv_only and (column.in_latex or not latex)]

    def text_columns(self) -> list[bool]:
        """For each column, whether it holds text; such columns are left-aligned."""
        return [any(isinstance(row[i].value, str) for row in self.rows) for i in range(len(self.columns))]

    def metadata(self) -> dict[str, Any]:
        """Content of `<name>.meta.json`: caption, details, settings, splits, seeds and run ids."""
        return {
            "title": self.title,
            "caption": self.caption,
            "details": self.details,
            "warnings": self.warnings,
            "probe": self.probe,
            **{
                field: self.shared(field) for field in ("protocol", "dataset", "variant", "profile", "data", "preset", "recipe")
            },
            "splits": sorted({record.split for record in self.records}),
            "passports": sorted({f"{record.split}: {record.passport}" for record in self.records}),
            "seeds": sorted({record.seed for record in self.records}),
            "n": len({record.run_id for record in self.records}),
            "run_ids": [list(ids) for ids in self.run_ids],
        }
