"""How long records take to be read and checked: 10,000 lines, and the time relative to Python's JSON parser alone.

python benchmarks/records.py
"""

import json
import sys
import tempfile
import time
from itertools import product
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from run_store.records import read_records
from tests.reports.made import made_record

LINES = 10_000
REPEATS = 5


def main() -> None:
    """Prints the best of several interleaved measurements."""
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "results.jsonl"
        cases = product(("simclr", "byol"), range(1, 6), range(LINES // 10))
        records = (made_record(method, split=split, seed=seed) for method, split, seed in cases)
        file.write_text("".join(record.to_line() + "\n" for record in records), encoding="utf-8")
        reading, parsing = [], []
        for _ in range(REPEATS):
            started = time.process_time()
            assert len(read_records([file])) == LINES
            reading.append(time.process_time() - started)
            started = time.process_time()
            for line in file.read_text(encoding="utf-8").splitlines():
                json.loads(line)
            parsing.append(time.process_time() - started)
    ratio = min(new / plain for new, plain in zip(reading, parsing, strict=True))
    print(f"{min(reading):7.3f} s of CPU time  read and check {LINES:,} records, {ratio:.2f} of the time of json.loads")


if __name__ == "__main__":
    main()
