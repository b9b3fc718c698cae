"""Everything that is printed of a folder's records: pure functions of them, in CSV, LaTeX, Markdown, and for the terminal."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import fields
from itertools import groupby
from pathlib import Path

from core.files import writable_folder, write_text
from reports.comparable import Title, method_name
from reports.tables.accuracy import AccuracyTable, build_tables
from reports.tables.analysis import agreement_tables, curve_tables, geometry_tables, tail_tables
from reports.tables.combined import combined_tables
from reports.tables.costs import budget_tables, cost_tables
from reports.tables.formats import FORMS, Table, rows_csv, terminal_text
from reports.tables.imbalance import cost_of_imbalance_tables, ratio_tables
from reports.tables.published import published_tables
from reports.tables.states import RunState, missing_table
from run_store.records import AccuracyRecord, GeometryRecord, Record, accuracies, geometries

__all__ = ["AccuracyTable", "RunState", "all_tables", "build_tables", "records_csv", "tables_text", "write_tables"]


def all_tables(
    records: Sequence[Record],
    title: Title = method_name,
    states: Sequence[RunState] = (),
    tables: Sequence[AccuracyTable] | None = None,
) -> list[Table]:
    """Every table that the records give rise to, those of accuracies first.

    Args:
        records: of any runs.
        title: how the method of a record is printed; rows of other hyper-parameters should differ in it.
        states: runs that are not done.
        tables: what `build_tables` made of these arguments, where that is there already.
    """
    accuracy_records = accuracies(records)
    tables = build_tables(accuracy_records, title, states) if tables is None else tables
    return [
        *(table.table() for table in tables),
        *combined_tables(tables),
        *published_tables(accuracy_records, title),
        *cost_tables(records, title),
        *budget_tables(accuracy_records, title),
        *agreement_tables(accuracy_records, title),
        *tail_tables(records, title),
        *cost_of_imbalance_tables(accuracy_records, title),
        *ratio_tables(accuracy_records, title),
        *geometry_tables(geometries(records), title),
        *curve_tables(accuracy_records, title),
        *([missing_table(states)] if states else []),
    ]


def write_tables(
    records: Sequence[Record],
    folder: Path,
    title: Title = method_name,
    states: Sequence[RunState] = (),
    accuracy_tables: Sequence[AccuracyTable] | None = None,
) -> list[Table]:
    """Writes every table as CSV, LaTeX and Markdown, and all records as tidy CSV: accuracies and geometry apart.

    Arguments and result are those of `all_tables`; a form of a table stands in `folder` under its name.
    """
    folder = writable_folder(folder, "--out")
    tables = all_tables(records, title, states, accuracy_tables)
    for table in tables:
        for suffix, form in FORMS.items():
            write_text(folder / f"{table.name}.{suffix}", form(table))
    write_text(folder / "results.csv", records_csv(accuracies(records), AccuracyRecord))
    if found := geometries(records):
        write_text(folder / "geometry.csv", records_csv(found, GeometryRecord))
    return tables


def tables_text(tables: Iterable[AccuracyTable]) -> str:
    """Tables of accuracies for a terminal; what several of them share is said once."""
    blocks = []
    for setting, group in groupby(tables, lambda table: table.setting):
        blocks.append(setting)
        for runs, members in groupby(group, lambda table: (table.runs, table.remarks)):
            for table in members:
                blocks.append(f"{table.title}\n{terminal_text(table.table())}\n{table.protocol}")
            blocks.append(" ".join(runs))
    return "\n\n".join(blocks)


def records_csv(records: Iterable[Record], form: type[Record]) -> str:
    """Every record as one row, every field of `form` as one column; lists and settings as text."""
    names = [field.name for field in fields(form)]
    ordered = sorted(records, key=lambda f: (f.dataset, f.profile, f.preset, f.method, f.split, f.seed, f.probe, f.run_id))
    return rows_csv(names, [[_as_text(getattr(record, name)) for name in names] for record in ordered])


def _as_text(value: object) -> object:
    """Lists of numbers with spaces between, settings as JSON, all else as it is."""
    if isinstance(value, list) and not any(isinstance(item, dict) for item in value):
        return " ".join(f"{item:.2f}" if isinstance(item, float) else str(item) for item in value)
    return json.dumps(value) if isinstance(value, dict | list) else value
