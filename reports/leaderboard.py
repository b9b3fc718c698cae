"""The leaderboard: the summary of each setting of the shipped results and submissions."""

from collections.abc import Callable, Iterable
from dataclasses import replace

from reports import captions
from reports.comparable import Title, method_name
from reports.tables import build_tables, summary_tables
from reports.tables.summary import VERDICT_RULE, add_runs
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
    sections = []
    summaries = summary_tables([table for table in tables if table.probe == captions.MAIN_PROBE], title, more_runs)
    headings = [_heading(table.records[0]) for table in summaries]
    for table, heading in zip(summaries, headings, strict=True):
        first = table.records[0]
        label = captions.scale(first)
        scale = f"**{label}**\n\n" if label else ""
        details = captions.without(table.details, VERDICT_RULE)  # the leaderboard has no verdicts
        table = replace(table, caption=captions.without(table.caption, label), details=details)
        if headings.count(heading) > 1:
            heading += f", {first.executor} views, {first.precision}"
        sections.append(f"{heading}\n\n{scale}{markdown_text(_columns(table))}")
    return "\n".join([HEAD, *sections])


def _heading(record: Record) -> str:
    training = ", ".join(filter(None, [f"preset {record.preset}", captions.epochs(record.epochs)]))
    return f"## {captions.subject(record)}, {training}"


def left_out(record: Record) -> bool:
    """Whether a record is of a preset that checks the pipeline."""
    return record.preset == LEFT_OUT


def _columns(table: Table) -> Table:
    """The columns of COLUMNS."""
    keys = [column.key for column in table.columns]
    places = [keys.index(key) for key in COLUMNS]
    return replace(
        table,
        columns=[replace(table.columns[place], csv_only=False) for place in places],
        rows=[[row[place] for place in places] for row in table.rows],
    )
