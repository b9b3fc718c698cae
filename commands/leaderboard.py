"""The command `leaderboard`: writes LEADERBOARD.md, and a page, from the shipped results and submissions."""

from itertools import groupby
from operator import attrgetter
from pathlib import Path

from commands.report import FIGURES, PAGE, TABLES, page_sections
from commands.titles import method_group, method_title, more_runs
from core.files import write_text
from reports.figures import write_figures
from reports.leaderboard import leaderboard_text, left_out
from reports.page import About, adapter, write_page
from reports.shipped import shipped_files, submitted
from reports.tables import build_tables, write_tables
from run_store.records import Record, accuracies, read_records

FILE = Path(__file__).parent.parent / "LEADERBOARD.md"


def current_leaderboard() -> str:
    """Text of the leaderboard of the records in `results/`. Raises UserError if one cannot be read."""
    shipped = accuracies(read_records(shipped_files()))
    return leaderboard_text([*shipped, *submitted(shipped)], method_title, method_group, more_runs)


def write_leaderboard() -> Path:
    """Writes the file; returns its path."""
    write_text(FILE, current_leaderboard())
    return FILE


def write_leaderboard_page(out: Path) -> Path:
    """Writes page, tables and figures of the records in `results/` to the folder `out`; returns the page.

    Raises:
        UserError: a record cannot be read, or a file cannot be written.
    """
    shipped: list[Record] = [record for record in read_records(shipped_files()) if not left_out(record)]
    records = [*shipped, *(record for record in submitted(accuracies(shipped)) if not left_out(record))]
    accuracy_tables = build_tables(accuracies(records), method_title, group=method_group)
    tables = write_tables(records, out / TABLES, method_title, accuracy_tables=accuracy_tables, more_runs=more_runs)
    by_run = groupby(sorted(shipped, key=attrgetter("run_id")), key=attrgetter("run_id"))
    write_page(
        out / PAGE,
        page_sections(tables, accuracy_tables),
        [adapter.figure(saved) for saved in write_figures(records, [], out / FIGURES, method_title)],
        [adapter.finished_run(None, list(found), method_title) for _, found in by_run],
        About("Leaderboard of self-supervised learning on long-tailed images", facts={"records": f"{len(records):,}"}),
    )
    return out / PAGE
