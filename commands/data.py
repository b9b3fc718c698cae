"""Data made ready ahead of time, or looked at again: a line a benchmark."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from core.errors import UserError
from data.benchmark import BENCHMARKS, data_folder
from data.lists.index_file import printable


def fetch(datasets: Sequence[str], data_root: Path | None, *, check: bool) -> Iterator[tuple[bool, str]]:
    """Fetches and verifies benchmarks one after the other; what a mistake of one is, does not keep the others.

    Args:
        datasets: names, globs, or all.
        data_root: where the data is or will be put; None: the user's cache folder.
        check: verify what is there alone, without network.

    Yields:
        Whether all is well, and a line that says what there is or what is wrong.

    Raises:
        UserError: there is no such benchmark.
    """
    root = data_folder(data_root)
    for name in BENCHMARKS.select(datasets, everything=[name for name, benchmark in BENCHMARKS if benchmark.suite]):
        benchmark = BENCHMARKS[name]()
        try:
            images = benchmark.load(root, fetch=not check)
        except UserError as error:
            yield False, printable(f"WRONG {name}: {error}")
        else:
            count = f"{len(images.train):,} training and {len(images.test):,} test images"
            yield True, printable(f"ok    {name}: {count}; {images.source.name}; {images.source.checksum}")
