"""The command `leaderboard`: writes LEADERBOARD.md from the shipped results and submissions."""

from pathlib import Path

from commands.titles import method_group, method_title, more_runs
from core.files import write_text
from reports.leaderboard import leaderboard_text
from reports.shipped import shipped_files, submitted
from run_store.records import accuracies, read_records

FILE = Path(__file__).parent.parent / "LEADERBOARD.md"


def current_leaderboard() -> str:
    """Text of the leaderboard of the records in `results/`. Raises UserError if one cannot be read."""
    return leaderboard_text([*accuracies(read_records(shipped_files())), *submitted()], method_title, method_group, more_runs)


def write_leaderboard() -> Path:
    """Writes the file; returns its path."""
    write_text(FILE, current_leaderboard())
    return FILE
