"""How long a webdataset shard takes to be read, and its images in place against the same images in files.

    python benchmarks/shards.py [--images 25000] [--rounds 7]

Images are random bytes, 2,000 or as many as ImageNet's JPEGs on average, read by threads in random order from the page cache.
Archive and files take turns in one process; printed are medians of the rounds, and the median of their ratios.
"""

import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Annotated

from cyclopts import App, Parameter

sys.path.insert(0, str(Path(__file__).parent.parent))

from data.lists.webdataset import read_shards
from data.tar_members import members, read_bytes
from tests.folders import write_shard

app = App()
SIZES = (2_000, 110_000)  # bytes of an image
READ = 2_000  # images that are read in a round
THREADS = 2


@app.default
def main(
    *,
    images: Annotated[int, Parameter(help="images of the shard, each with a label: two members")] = 25_000,
    rounds: Annotated[int, Parameter(help="rounds of reading, after one to warm up")] = 7,
) -> None:
    """Prints one line for each measurement."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for size in SIZES:
            count = images if size == SIZES[0] else READ
            files = _files(folder / str(size), count, size)
            write_shard(folder / f"{size}.tar", {file.stem: file for file in files})
            archive = f"{folder}/{size}.tar"
            print(f"{_seconds(members, archive):7.2f} s  read the headers of {2 * count:,} members")
            print(f"{_seconds(read_shards, folder, [f'{size}.tar'], ['.jpg']):7.2f} s  read {count:,} labels")
            _compare([f"{archive}/{file.name}" for file in files], [str(file) for file in files], size, rounds)


def _files(folder: Path, count: int, size: int) -> list[Path]:
    files = [folder / str(i % 100) / f"{i:07d}.jpg" for i in range(count)]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(os.urandom(size))
    return files


def _compare(packed: Sequence[str], plain: Sequence[str], size: int, rounds: int) -> None:
    """Prints images a second from an archive and from files, and the ratio."""
    found: list[tuple[float, float]] = []
    with ThreadPoolExecutor(THREADS) as threads:
        for number in range(rounds + 1):
            order = random.Random(number).sample(range(len(plain)), min(READ, len(plain)))
            chosen = [[paths[i] for i in order] for paths in (packed, plain)]
            both = [_seconds(lambda paths: sum(map(len, threads.map(read_bytes, paths))), paths) for paths in chosen]
            if number:
                found.append((both[0], both[1]))
    speeds = [READ / median(seconds) for seconds in zip(*found, strict=True)]
    ratio = median(files / archive for archive, files in found)
    print(f"images of {size:,} bytes: {speeds[0]:,.0f}/s from the archive, {speeds[1]:,.0f}/s from files, ratio {ratio:.2f}")


def _seconds(function: Callable[..., object], *arguments: object) -> float:
    started = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - started


if __name__ == "__main__":
    app()
