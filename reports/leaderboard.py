"""The leaderboard: one table per setting of the shipped results and submissions, sorted by accuracy on the few group."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from math import inf

from reports import captions
from reports.comparable import Title, method_name
from reports.tables import build_tables, summary_tables
from reports.tables.summary import add_runs
from reports.tables.table import Table
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
    tables = build_tables((record for record in records if not left_out(record)), title, bold=False, group=group)
    sections = [HEAD]
    summaries = summary_tables([table for table in tables if table.probe == captions.MAIN_PROBE], title, more_runs)
    for table in summaries:
        first = table.records[0]
        scale = f"**{label}**\n\n" if (label := captions.scale(first)) else ""
        training = ", ".join(filter(None, [f"preset {first.preset}", captions.epochs(first.epochs)]))
        sections.append(f"## {captions.subject(first)}, {training}\n\n{scale}{markdown_text(_columns(ranked(table)))}")
    return "\n".join(sections)


def left_out(record: Record) -> bool:
    """Whether a record is of a preset that checks the pipeline."""
    return record.preset == LEFT_OUT


def ranked(table: Table) -> Table:
    """A summary with its rows sorted by accuracy on the few group, the best first."""
    by = [column.key for column in table.columns].index(SORTED_BY)

    def accuracy(place: int) -> float:
        value = table.rows[place][by].value
        return value if isinstance(value, float) else -inf

    order = sorted(range(len(table.rows)), key=accuracy, reverse=True)
    run_ids = [table.run_ids[place] for place in order] if table.run_ids else ()
    return replace(table, rows=[table.rows[place] for place in order], run_ids=run_ids)


def _columns(table: Table) -> Table:
    """The columns of COLUMNS."""
    keys = [column.key for column in table.columns]
    places = [keys.index(key) for key in COLUMNS]
    return replace(
        table,
        columns=[replace(table.columns[place], csv_only=False) for place in places],
        rows=[[row[place] for place in places] for row in table.rows],
    )
