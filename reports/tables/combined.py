"""The papers' combined table: probes of one family side by side, with all labelled images and with few."""

import re
from collections.abc import Iterable, Sequence

from reports import captions
from reports.comparable import SETTING, comparable, table_name
from reports.tables.accuracy import METRICS, AccuracyTable, Row, metric_columns
from reports.tables.formats import Column, Entry, Table

FEW_SHOT = re.compile(r"(?P<family>.+)-(?P<amount>\d+)(?P<unit>pct|shot)")  # how the name of a few-shot probe ends


def family(probe: str) -> tuple[str, str]:
    """The family of a probe, which is the name of its full-shot form, and what it learns from, in a word or two."""
    match = FEW_SHOT.fullmatch(probe)
    if match is None:
        return probe, "full-shot"
    return match["family"], f"{match['amount']} %" if match["unit"] == "pct" else f"{match['amount']}-shot"


def combined_tables(accuracy_tables: Iterable[AccuracyTable]) -> list[Table]:
    """One for each setting and family of probes that has a full-shot and a few-shot form there."""
    accuracy_tables = list(accuracy_tables)
    of = {id(table.first): table for table in accuracy_tables}
    tables = []
    for key, firsts in comparable((table.first for table in accuracy_tables), SETTING, passports=False):
        families: dict[tuple[str, str], list[AccuracyTable]] = {}
        for first in firsts:
            table = of[id(first)]
            families.setdefault((family(table.probe)[0], table.apart), []).append(table)
        for (name, apart), members in families.items():
            probes = [table.probe for table in members]
            # two tables of one probe are of two protocols: there is no telling which belong together
            if name in probes and len(set(probes)) == len(probes) > 1:
                members.sort(key=lambda table: (table.probe != name, -table.labels))
                tables.append(_table(table_name(members[0].first, key + apart, name), members))
    return tables


def _table(name: str, tables: Sequence[AccuracyTable]) -> Table:
    by_table = [{row.key: row for row in table.rows} for table in tables]
    keys = sorted({key for rows in by_table for key in rows})
    counts = [{rows[key].runs for rows in by_table if key in rows} for key in keys]
    columns = [Column("Method", "method")]
    for table in tables:
        columns += metric_columns(_label(table), f"{table.probe}_")
    columns += [Column("n", "runs")]
    rows = []
    for key, count in zip(keys, counts, strict=True):
        row: list[Entry] = []
        for of in by_table:
            row += [of[key].entry(metric) if key in of else Entry(None, words="-") for metric in METRICS]
        several = "/".join(str(of[key].runs) if key in of else "-" for of in by_table)
        n = Entry(several) if len(count) > 1 else Entry(count.pop())
        rows.append([Entry(_title(by_table, key)), *row, n])
    titles = [captions.probe_title(table.probe) for table in tables]
    protocols = " ".join(f"{_label(table)}, {table.probe}: {table.protocol}" for table in tables)
    return Table(
        f"combined-{name}",
        tables[0].title.removesuffix(f"probe {captions.probe_title(tables[0].probe)}") + f"probes {', '.join(titles)}",
        f"{tables[0].setting} {protocols} {_once(tables, 'runs')} {_once(tables, 'remarks')}",
        columns,
        rows,
        tables[0].first,
        runs=[tuple(dict.fromkeys(id for of in by_table if key in of for id in of[key].run_ids)) for key in keys],
    )


def _title(by_table: Sequence[dict[tuple[str, str], Row]], key: tuple[str, str]) -> str:
    return next(rows[key].method for rows in by_table if key in rows)


def _label(table: AccuracyTable) -> str:
    return f"{family(table.probe)[1]} ({table.labels:,})"


def _once(tables: Sequence[AccuracyTable], part: str) -> str:
    """A part of the tables' notes, once for those that share it."""
    texts: dict[str, list[str]] = {}
    for table in tables:
        texts.setdefault(getattr(table, part), []).append(_label(table))
    if len(texts) == 1:
        return next(iter(texts))
    return " ".join(f"{', '.join(labels)}: {text}" for text, labels in texts.items())
