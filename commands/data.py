"""The command `data`: downloads and verifies benchmarks."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from core.errors import UserError
from data.benchmark import BENCHMARKS
from data.lists.index_file import printable
from data.root import data_folder


def data(datasets: Sequence[str], data_root: Path | None, *, check: bool) -> Iterator[tuple[bool, str]]:
    """Downloads and verifies benchmarks one by one; continues after an error.

    Args:
        datasets: names, globs, or all.
        data_root: folder of the data sets; None: the user's cache folder.
        check: verify existing files without network.

    Yields:
        Whether the benchmark is complete, and a line with its size and source or with the error.

    Raises:
        UserError: unknown benchmark.
    """
    root = data_folder(data_root)
    for name in BENCHMARKS.select(datasets):
        benchmark = BENCHMARKS[name]()
        try:
            images = benchmark.load(root, fetch=not check)
        except UserError as error:
            yield False, printable(f"ERROR {name}: {error}")
        else:
            count = f"{len(images.train):,} training and {len(images.test):,} test images"
            yield True, printable(f"ok    {name}: {count}; {images.source.name}; {images.source.checksum}")
