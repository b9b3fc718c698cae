"""All tables of a set of records, written as CSV, LaTeX, Markdown and JSON metadata, and as text for the terminal."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path

from msgspec import structs, to_builtins

from core.files import remove_unfinished, writable_folder, write_text
from reports import captions
from reports.comparable import Title, method_name
from reports.shipped_record import ShippedRecord
from reports.tables.accuracy import AccuracyTable, build_tables
from reports.tables.analysis import agreement_tables, curve_tables, geometry_tables, tail_tables
from reports.tables.combined import combined_tables
from reports.tables.costs import budget_tables, cost_tables
from reports.tables.files import META, file_names, remove_others
from reports.tables.imbalance import cost_of_imbalance_tables, ratio_tables
from reports.tables.latex import latex_text
from reports.tables.published import published_tables
from reports.tables.ranks import rank_tables
from reports.tables.states import RunState, missing_table
from reports.tables.summary import add_runs, summary_tables
from reports.tables.table import Table
from reports.tables.text import csv_lines, csv_text, markdown_escaped, markdown_text, rounded, terminal_text, warning_lines
from run_store.records import AccuracyRecord, GeometryRecord, Record, accuracies, geometries

GEOMETRY = "geometry.csv"  # all fields of the geometry records
WRITERS = {"csv": csv_text, "md": markdown_text, "tex": latex_text}  # by file suffix


def all_tables(
    records: Sequence[Record],
    title: Title = method_name,
    states: Sequence[RunState] = (),
    tables: Sequence[AccuracyTable] | None = None,
    more_runs: Callable[[Record], str] = add_runs,
) -> list[Table]:
    """Every table of the records: summaries first, then tables of accuracies.

    Args:
        records: of any runs.
        title: printed name of a record's method; should differ between hyper-parameters.
        states: unfinished and failed runs.
        tables: result of `build_tables` for the same arguments, if available; may have shipped records too.
        more_runs: see `summary_tables`.
    """
    accuracy_records = accuracies(records)
    tables = build_tables(accuracy_records, title, states) if tables is None else tables
    return [
        *summary_tables(tables, title, more_runs),
        *(table.table() for table in tables),
        *combined_tables(tables),
        *rank_tables(accuracy_records, title),
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
    more_runs: Callable[[Record], str] = add_runs,
) -> list[Table]:
    """Writes `.csv`, `.md`, `.tex` and `.meta.json` of every table, named by `file_names`, `index.md`, and all records.

    `tidy.csv` has a few columns of each record, shipped ones included, `results.csv` and `geometry.csv` all. Tables of earlier
    reports are removed.

    Arguments and result are those of `all_tables`. Raises UserError if the folder cannot be written.
    """
    remove_unfinished(writable_folder(folder, "--out"))
    accuracy_tables = build_tables(records, title, states) if accuracy_tables is None else accuracy_tables
    tables = all_tables(records, title, states, accuracy_tables, more_runs)
    files = [replace(table, name=name) for table, name in zip(tables, file_names(tables), strict=True)]
    for subfolder in {(folder / file.name).parent for file in files} - {folder}:
        remove_unfinished(writable_folder(subfolder, "--out"))
    for file in files:
        for suffix, text in WRITERS.items():
            write_text(folder / f"{file.name}.{suffix}", text(file))
        write_text(folder / f"{file.name}.{META}", json.dumps(file.metadata(), indent=1) + "\n")
    write_text(folder / "index.md", _index(files))
    write_text(folder / "tidy.csv", tidy_csv((record for table in accuracy_tables for record in table.records), title))
    write_text(folder / "results.csv", records_csv(accuracies(records), AccuracyRecord))
    if found := geometries(records):
        write_text(folder / GEOMETRY, records_csv(found, GeometryRecord))
    else:
        (folder / GEOMETRY).unlink(missing_ok=True)
    remove_others(folder, {folder / file.name for file in files}, WRITERS)
    return tables


def tables_text(tables: Iterable[Table]) -> str:
    """Titles, tables and warnings for the terminal; consecutive tables with the same caption print it once, below the last."""
    blocks = []
    for caption, group in groupby(tables, lambda table: (table.shared("data"), table.shared("recipe"), table.caption)):
        members = list(group)
        blocks += [f"{table.title}\n{terminal_text(table)}" for table in members]
        blocks += [caption[-1], *dict.fromkeys(line for table in members for line in warning_lines(table))]
    return "\n\n".join(blocks)


def tidy_csv(records: Iterable[AccuracyRecord], title: Title = method_name) -> str:
    """One line per run and probe: method, benchmark, variant, split, seed, probe, accuracies, whether it is shipped, notes."""
    heads = ("method", "benchmark", "variant", "preset", "split", "seed", "probe", "all", "many", "medium", "few", "std", "run")
    names = ("dataset", "variant", "preset", "split", "seed", "probe", "mean", "many", "medium", "few", "group_std", "run_id")
    ordered = sorted(records, key=lambda r: (r.dataset, r.profile, r.preset, r.probe, r.method, r.split, r.seed, r.run_id))
    lines = []
    for r in ordered:
        values = (_as_text(rounded(getattr(r, name))) for name in names)
        lines.append([title(r), *values, "yes" if isinstance(r, ShippedRecord) else "no", captions.method_notes([r])])
    return csv_lines([*heads, "shipped", "note"], lines)


def _index(files: Iterable[Table]) -> str:
    """Links to the records, then to the files of all tables by benchmark, in Markdown; a table's name is its path."""
    lines = ["# Tables", "", "Records: [tidy.csv](tidy.csv), with all fields [results.csv](results.csv)"]
    by_folder: dict[str, list[Table]] = {}
    for file in files:
        by_folder.setdefault(str(Path(file.name).parent), []).append(file)
    for name, members in by_folder.items():
        lines += ["", f"## {markdown_escaped('All benchmarks' if name == '.' else name)}", ""]
        for file in members:
            links = ", ".join(f"[{suffix}]({file.name}.{suffix})" for suffix in WRITERS)
            lines.append(f"- `{Path(file.name).name}` ({links}): {markdown_escaped(file.title)}")
    return "\n".join([*lines, ""])


def records_csv(records: Iterable[Record], record_type: type[Record]) -> str:
    """One line per record, one column per field of `record_type`; lists and dictionaries as text.

    The precision of submissions is that of their training, also in the table of another precision.
    """
    records = (structs.replace(r, precision=r.trained_in) if isinstance(r, ShippedRecord) else r for r in records)
    names = [name for name in record_type.__struct_fields__ if name != "format"]
    ordered = sorted(records, key=lambda f: (f.dataset, f.profile, f.preset, f.method, f.split, f.seed, f.probe, f.run_id))
    return csv_lines(names, [[_as_text(getattr(record, name)) for name in names] for record in ordered])


def _as_text(value: object) -> object:
    """Lists of numbers separated by spaces, other lists and dictionaries as JSON, other values unchanged."""
    if value is None or isinstance(value, str | int | float):
        return value
    value = to_builtins(value)
    if isinstance(value, list) and not any(isinstance(item, dict) for item in value):
        return " ".join(f"{item:.2f}" if isinstance(item, float) else str(item) for item in value)
    return json.dumps(value) if isinstance(value, dict | list) else value
