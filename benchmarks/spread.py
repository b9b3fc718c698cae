"""How much the accuracies of equal runs differ between machines, for `results/spread.json`.

python benchmarks/spread.py RUNS [OTHER_RUNS]

Compares the runs of a folder with the shipped ones that have the same run id, or with those of another folder. Benchmarks and
presets with enough common runs are replaced in the file; the others stay.
"""

import sys
from pathlib import Path

from msgspec import to_builtins

sys.path.insert(0, str(Path(__file__).parents[1]))

from core.files import write_json
from reports.shipped import SHIPPED, shipped_files
from reports.spread import FILE, read_spreads, spreads
from run_store.records import accuracies, read_records, read_runs


def main(runs: Path, others: Path | None = None) -> None:
    """Prints the spreads and writes the file."""
    first = read_records(shipped_files()) if others is None else read_runs(others)
    found = spreads(accuracies(first), accuracies(read_runs(runs)))
    for setting, by_probe in found.items():
        for probe, spread in by_probe.items():
            print(f"{setting} {probe}: {spread}")
    write_json(SHIPPED / FILE, to_builtins(read_spreads() | found))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
