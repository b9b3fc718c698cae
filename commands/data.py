"""The command `data`: downloads and verifies benchmarks, and writes index lists of folders of images."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from core.errors import UserError
from core.files import expand_user, new_folder, writable_folder
from core.words import counted, printable
from data.benchmark import BENCHMARKS
from data.datasets.folderlt import FolderLT
from data.datasets.image_folder import enter, folder_benchmark
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


def make_lists(path: Path, to: Path | None, profile: str | None, split: int) -> list[str]:
    """Writes the index lists of a folder of images in the format of `folderlt`, with paths relative to that folder.

    Args:
        path: the folder, see `data/lists/class_folders.py`.
        to: folder to write, which must not exist; None: `<name of the benchmark>-lists` in the current folder.
        profile: of the pretraining list; None: all training images.
        split: of the profile, from 1.

    Returns:
        A line for each list.

    Raises:
        UserError: see `read_class_folders`; an unknown profile or split; an image file that cannot be read; or `to` exists.
    """
    name = enter(path)
    benchmark = folder_benchmark(name)()
    profile = benchmark.profile(profile)
    benchmark.check_split(profile, split)
    to = expand_user(to or Path(f"{name}-lists"))
    if to.exists():
        raise UserError(f"--to {to} exists; choose another folder")
    images = benchmark.load(data_folder(None))
    lists = benchmark.named_lists(benchmark.lists(images.train_labels, profile, split))
    writable_folder(to.parent, "--to")
    lines = []
    with new_folder(to) as folder:
        for role, (names, labels) in lists.items():
            file = FolderLT.files[role].name
            text = "".join(f"{name} {label}\n" for name, label in zip(names, labels.tolist(), strict=True))
            (folder / file).write_bytes(text.encode(errors="surrogateescape"))
            classes = len(np.unique(labels))
            lines.append(f"{to / file}: {counted(len(names), 'image')}, {counted(classes, 'class')}")
    return lines
