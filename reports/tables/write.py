"""Everything that is printed of a folder's records: pure functions of them, in CSV, LaTeX, Markdown, and for the terminal."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import fields
from itertools import groupby
from pathlib import Path

from core.files import writable_folder, write_text
from reports.comparable import Title, method_name
from reports.tables.accuracy import Table, build_tables
from reports.tables.analysis import agreement_sheets, curve_sheets, geometry_sheets, tail_sheets
from reports.tables.combined import combined_sheets
from reports.tables.costs import budget_sheets, cost_sheets
from reports.tables.formats import FORMS, Sheet, rows_csv, terminal_text
from reports.tables.imbalance import cost_of_imbalance_sheets, ratio_sheets
from reports.tables.published import published_sheets
from reports.tables.states import RunState, missing_sheet
from run_store.records import Finding, Geometry, Record, accuracies, geometries

__all__ = ["RunState", "Table", "all_sheets", "build_tables", "findings_csv", "tables_text", "write_tables"]


def all_sheets(
    findings: Sequence[Finding],
    title: Title = method_name,
    states: Sequence[RunState] = (),
    tables: Sequence[Table] | None = None,
) -> list[Sheet]:
    """Every table that the records give rise to, those of accuracies first.

    Args:
        findings: of any runs.
        title: how the method of a record is printed; rows of other hyper-parameters should differ in it.
        states: runs that are not done.
        tables: what `build_tables` made of these arguments, where that is there already.
    """
    records = accuracies(findings)
    tables = build_tables(records, title, states) if tables is None else tables
    return [
        *(table.sheet() for table in tables),
        *combined_sheets(tables),
        *published_sheets(records, title),
        *cost_sheets(findings, title),
        *budget_sheets(records, title),
        *agreement_sheets(records, title),
        *tail_sheets(findings, title),
        *cost_of_imbalance_sheets(records, title),
        *ratio_sheets(records, title),
        *geometry_sheets(geometries(findings), title),
        *curve_sheets(records, title),
        *([missing_sheet(states)] if states else []),
    ]


def write_tables(
    findings: Sequence[Finding],
    folder: Path,
    title: Title = method_name,
    states: Sequence[RunState] = (),
    tables: Sequence[Table] | None = None,
) -> list[Sheet]:
    """Writes every table as CSV, LaTeX and Markdown, and all records as tidy CSV: accuracies and geometry apart.

    Arguments and result are those of `all_sheets`; a form of a table stands in `folder` under its name.
    """
    folder = writable_folder(folder, "--out")
    sheets = all_sheets(findings, title, states, tables)
    for sheet in sheets:
        for suffix, form in FORMS.items():
            write_text(folder / f"{sheet.name}.{suffix}", form(sheet))
    write_text(folder / "results.csv", findings_csv(accuracies(findings), Record))
    if found := geometries(findings):
        write_text(folder / "geometry.csv", findings_csv(found, Geometry))
    return sheets


def tables_text(tables: Iterable[Table]) -> str:
    """Tables of accuracies for a terminal; what several of them share is said once."""
    blocks = []
    for setting, group in groupby(tables, lambda table: table.setting):
        blocks.append(setting)
        for runs, members in groupby(group, lambda table: (table.runs, table.remarks)):
            for table in members:
                blocks.append(f"{table.title}\n{terminal_text(table.sheet())}\n{table.protocol}")
            blocks.append(" ".join(runs))
    return "\n\n".join(blocks)


def findings_csv(findings: Iterable[Finding], form: type[Finding]) -> str:
    """Every record as one row, every field of `form` as one column; lists and settings as text."""
    names = [field.name for field in fields(form)]
    ordered = sorted(findings, key=lambda f: (f.dataset, f.profile, f.preset, f.method, f.split, f.seed, f.probe, f.run_id))
    return rows_csv(names, [[_as_text(getattr(finding, name)) for name in names] for finding in ordered])


def _as_text(value: object) -> object:
    """Lists of numbers with spaces between, settings as JSON, all else as it is."""
    if isinstance(value, list) and not any(isinstance(item, dict) for item in value):
        return " ".join(f"{item:.2f}" if isinstance(item, float) else str(item) for item in value)
    return json.dumps(value) if isinstance(value, dict | list) else value
