"""The leaderboard: one table per setting of the shipped results and submissions, sorted by accuracy on the few group."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from math import inf

from reports import captions
from reports.comparable import Title, method_name
from reports.tables import build_tables, summary_tables
from reports.tables.summary import add_runs
from reports.tables.table import Cell, Table
from reports.tables.text import markdown_text
from run_store.records import AccuracyRecord, Record

COLUMNS = (
    "method",
    "method_group",
    "few",
    "mean",
    "group_std",
    "few_difference_text",
    "mean_difference_text",
    "runs",
    "device",
)
SORTED_BY = "few"
LEFT_OUT = "smoke"  # preset that checks the pipeline
HEAD = """# Leaderboard

Written by `python bench.py leaderboard` from the records in `results/`. How to train one of these runs again, compare your own
method with them, and submit it: [docs/baselines.md](docs/baselines.md).
"""


def leaderboard_text(
    records: Iterable[AccuracyRecord],
    title: Title = method_name,
    group: Callable[[str], str] = lambda method: "",
    more_runs: Callable[[Record], str] = add_runs,
) -> str:
    """The leaderboard in Markdown. Arguments are those of `build_tables` and `summary_tables`."""
    tables = build_tables((record for record in records if record.preset != LEFT_OUT), title, bold=False, group=group)
    sections = [HEAD]
    summaries = summary_tables([table for table in tables if table.probe == captions.MAIN_PROBE], title, more_runs)
    for table in sorted(summaries, key=lambda table: -len(table.rows)):  # the settings with the most methods first
        first = table.records[0]
        scale = f"**{label}**\n\n" if (label := captions.scale(first)) else ""
        sections.append(f"## {captions.subject(first)}, preset {first.preset}\n\n{scale}{markdown_text(_ranked(table))}")
    return "\n".join(sections)


def _ranked(table: Table) -> Table:
    """The columns of COLUMNS, the best row first."""
    keys = [column.key for column in table.columns]
    places, by = [keys.index(key) for key in COLUMNS], keys.index(SORTED_BY)

    def accuracy(row: Sequence[Cell]) -> float:
        value = row[by].value
        return value if isinstance(value, float) else -inf

    rows = sorted(table.rows, key=accuracy, reverse=True)
    return replace(
        table,
        columns=[replace(table.columns[place], csv_only=False) for place in places],
        rows=[[row[place] for place in places] for row in rows],
        run_ids=(),
    )
