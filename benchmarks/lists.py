"""How long index lists take to be read, and missing images to be found: synthetic lists in the official form, real files.

python benchmarks/lists.py
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from data.datasets.inat18 import read_annotations
from data.lists.index_file import check_index_file, merge_index_files, read_index_file
from data.lists.missing_files import missing_files


def main() -> None:
    """Prints one line a measurement: the best of three."""
    with tempfile.TemporaryDirectory() as scratch:
        for lines in (115_846, 1_281_167):
            names = [f"train/n{i % 1000:08d}/n{i % 1000:08d}_{i // 1000}.JPEG" for i in range(lines)]
            file = Path(scratch) / "list.txt"
            file.write_text("".join(f"{name} {i % 1000}\n" for i, name in enumerate(names)), encoding="utf-8")
            _time(f"read a list of {lines:,} lines", lambda file=file: read_index_file(file))
            listing = read_index_file(file)
            _time("  check it", lambda listing=listing: check_index_file(listing, 1000))
            _time("  merge it with other index files", lambda listing=listing: merge_index_files([listing]))
        there = Path(scratch) / "images"
        for name in names[:115_846]:
            (there / name).parent.mkdir(parents=True, exist_ok=True)
            (there / name).touch()
        _time("find none of 115,846 images in 1,000 folders missing", lambda: missing_files(there, names[:115_846]))
        annotations = Path(scratch) / "train2018.json"
        annotations.write_text(json.dumps(_annotations(437_513)), encoding="utf-8")
        size = annotations.stat().st_size >> 20
        _time(f"read annotations of 437,513 images ({size} MiB)", lambda: read_annotations(annotations))


def _annotations(images: int) -> dict:
    names = (f"train_val2018/Aves/{i % 8142}/{i:032x}.jpg" for i in range(images))
    return {
        "images": [
            {"id": i, "file_name": name, "width": 800, "height": 600, "license": 3, "rights_holder": "somebody"}
            for i, name in enumerate(names)
        ],
        "annotations": [{"id": i, "image_id": i, "category_id": i % 8142} for i in range(images)],
        "categories": [{"id": i, "name": str(i), "supercategory": "Aves"} for i in range(8142)],
    }


def _time(what: str, call: Callable[[], object]) -> None:
    best = float("inf")
    for _ in range(3):
        started = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - started)
    print(f"{best:7.3f} s  {what}", flush=True)


if __name__ == "__main__":
    main()
