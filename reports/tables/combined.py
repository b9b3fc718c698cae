"""Combined table: full-shot and few-shot probes of one family side by side."""

import re
from collections.abc import Callable, Iterable, Sequence

from reports import captions
from reports.comparable import SETTING, comparable_groups, table_name
from reports.tables.accuracy import METRICS, AccuracyTable, group_details, method_cells, method_columns, metric_columns
from reports.tables.table import Cell, Column, Table

FEW_SHOT = re.compile(r"(?P<family>.+)-(?P<amount>\d+)(?P<unit>pct|shot)")  # name of a few-shot probe


def family(probe: str) -> tuple[str, str]:
    """Name of the full-shot probe of the same family, and the labelled images: `full-shot`, `1 %` or `10-shot`."""
    match = FEW_SHOT.fullmatch(probe)
    if match is None:
        return probe, "full-shot"
    return match["family"], f"{match['amount']} %" if match["unit"] == "pct" else f"{match['amount']}-shot"


def combined_tables(accuracy_tables: Iterable[AccuracyTable]) -> list[Table]:
    """One table for each setting and probe family with a full-shot and a few-shot probe."""
    accuracy_tables = list(accuracy_tables)
    table_of = {id(table.first): table for table in accuracy_tables}
    tables = []
    for key, firsts in comparable_groups((table.first for table in accuracy_tables), SETTING, by_passport=False):
        families: dict[tuple[str, str], list[AccuracyTable]] = {}
        for first in firsts:
            table = table_of[id(first)]
            families.setdefault((family(table.probe)[0], table.passport), []).append(table)
        for (name, passport), members in families.items():
            probes = [table.probe for table in members]
            # two tables of one probe have different protocols: it is unknown which of them belongs to the other probes
            if name in probes and len(set(probes)) == len(probes) > 1:
                members.sort(key=lambda table: (table.probe != name, -table.first.n_train))
                tables.append(_table(table_name(members[0].first, key + passport, name), members))
    return tables


def _table(name: str, tables: Sequence[AccuracyTable]) -> Table:
    rows_by_key = [{row.order: row for row in table.rows} for table in tables]  # own and shipped rows may have one method
    keys = sorted({key for rows in rows_by_key for key in rows})
    columns = method_columns(row for rows in rows_by_key for row in rows.values())
    for table in tables:
        columns += metric_columns(_label(table), f"{table.probe}_")
    columns += [Column("n", "runs")]
    cells, ids = [], []
    for key in keys:
        found = [rows.get(key) for rows in rows_by_key]
        present = [row for row in found if row is not None]
        row_cells = [row.cell(metric) if row else Cell(None, placeholder="-") for row in found for metric in METRICS]
        counts = {row.runs for row in present}
        n = Cell(counts.pop()) if len(counts) == 1 else Cell("/".join(str(row.runs) if row else "-" for row in found))
        cells.append([*method_cells(present[0]), *row_cells, n])
        ids.append(tuple(dict.fromkeys(run_id for row in present for run_id in row.run_ids)))
    records = [record for table in tables for record in table.records]
    protocols = " ".join(f"{_label(table)}, {table.probe}: {captions.protocol(table.records)}" for table in tables)
    probes = ", ".join(captions.probe_title(table.probe) for table in tables)
    return Table(
        f"combined-{name}",
        f"{tables[0].title.removesuffix(f'probe {captions.probe_title(tables[0].probe)}')}probes {probes}",
        captions.caption(records, captions.between_splits(records), max((table.bold_rule for table in tables), key=len)),
        f"{tables[0].setting} {protocols} {_merged(tables, lambda table: group_details(table.records))} "
        f"{_merged(tables, lambda table: table.comparison)}".strip(),
        columns,
        cells,
        records,
        run_ids=ids,
        file=f"combined-{captions.probe_file(family(tables[0].probe)[0])}",
    )


def _label(table: AccuracyTable) -> str:
    return f"{family(table.probe)[1]} ({table.first.n_train:,})"


def _merged(tables: Sequence[AccuracyTable], text: Callable[[AccuracyTable], str]) -> str:
    """The text of all tables, once if it is equal in all, else with the tables' labels."""
    labels: dict[str, list[str]] = {}
    for table in tables:
        labels.setdefault(text(table), []).append(_label(table))
    if len(labels) == 1:
        return next(iter(labels))
    return " ".join(f"{', '.join(names)}: {text}" for text, names in labels.items())
