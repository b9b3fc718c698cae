"""Adds the accuracies of finished runs to `results/<benchmark>/<preset>.jsonl`.

    python benchmarks/add_results.py RUNS... [--to results]

Runs that a file already has, by run id, are left out: its lines stay as they are. Then run `python bench.py leaderboard`. A new
benchmark or preset needs the spread between machines too (`benchmarks/spread.py`).
"""

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

sys.path.insert(0, str(Path(__file__).parent.parent))

from core.files import write_text
from reports.shipped import SHIPPED
from run_store.layout import RESULTS
from run_store.records import AccuracyRecord, checked_records, read_accuracy_records
from run_store.states import statuses

app = App()


@app.default
def main(folders: list[Path], *, to: Annotated[Path, Parameter(help="folder of the files")] = SHIPPED) -> None:
    """Adds the runs of `folders` and prints how many each file got."""
    done = [out / run.name / RESULTS for out in folders for run in statuses(out) if run.state == "DONE"]
    by_file: dict[Path, list[AccuracyRecord]] = {}
    for record in read_accuracy_records(done):
        by_file.setdefault(to / record.dataset / f"{record.preset}.jsonl", []).append(record)
    for file, found in by_file.items():
        print(f"{add(file, found)} runs added to {file}")


def add(file: Path, records: list[AccuracyRecord]) -> int:
    """Appends the records of runs that the file does not have; returns the number of these runs.

    Raises UserError if a line of the file is damaged or of another format.

    Args:
        file: of records; it may be missing.
        records: of whole runs of its benchmark and preset.
    """
    lines = file.read_bytes().splitlines() if file.exists() else []
    shipped = {record.run_id for record in checked_records(lines, file)}
    new = {(r.run_id, r.probe): r for r in records if r.run_id not in shipped}
    if new:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, "".join(f"{line}\n" for line in [*map(bytes.decode, lines), *(r.to_line() for r in new.values())]))
    return len({run_id for run_id, _ in new})


if __name__ == "__main__":
    app()
