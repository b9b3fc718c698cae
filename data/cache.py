"""Data set cache: each benchmark is loaded once per process, and downloaded only when a run needs it."""

import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path

from core.words import counted
from data.benchmark import BENCHMARKS, Benchmark, Images, MissingData, Source
from data.datasets.image_folder import known_places, set_place
from data.lists.longtail import Indices
from data.passport import Passport, passport_of
from data.split import Split
from data.variants import variant_of, with_variants

log = logging.getLogger(__name__)


class DataCache:
    """Loaded benchmarks and images under one data root."""

    def __init__(self, data_root: Path) -> None:
        self.root = data_root
        self._benchmarks: dict[str, Benchmark] = {}
        self._images: dict[str, Images] = {}
        self._needs: dict[str, frozenset[str]] = {}  # index lists whose image files were checked

    def __reduce__(self) -> tuple[Callable[..., "DataCache"], tuple[Path, dict[str, Path]]]:
        """Pickles the data root and the places of folders only: loading again is faster than sending the images."""
        return _restored, (self.root, known_places())

    def benchmark(self, dataset: str) -> Benchmark:
        """Returns the benchmark of that name; the instance keeps index lists that it has read from files."""
        return self._benchmarks.setdefault(dataset, BENCHMARKS[dataset]())

    def load(self, dataset: str, needs: Collection[str], *, fetch: bool = True) -> Images:
        """Loads the images, downloading missing ones.

        Args:
            dataset: registered name.
            needs: index lists, see `Benchmark.load`.
            fetch: whether missing data is downloaded.

        Raises:
            MissingData: data is missing and `fetch` is false.
            UserError: the data is damaged or cannot be downloaded.
        """
        benchmark, known = self.benchmark(dataset), self._needs.get(dataset, frozenset())
        if dataset not in self._images or (benchmark.in_files and not known.issuperset(needs)):
            self._images[dataset] = benchmark.load(self.root, known.union(needs), fetch=fetch)
            self._needs[dataset] = known.union(needs)
        return self._images[dataset]

    def labels(self, dataset: str) -> tuple[Indices, Source]:
        """Returns the training labels and the source without downloading. Raises UserError if the data is missing."""
        benchmark = self.benchmark(dataset)
        if benchmark.in_files and dataset not in self._images:
            return benchmark.labels(self.root)
        if dataset not in self._images:  # verifying labels of in-memory images costs as much as loading the images
            self._images[dataset] = benchmark.load(self.root, fetch=False)
        images = self._images[dataset]
        return images.train_labels, images.source

    def passport(self, dataset: str, profile: str, split: int) -> Passport:
        """Returns the passport of a split without downloading. Raises UserError if the labels are missing."""
        labels, source = self.labels(dataset)
        benchmark = self.benchmark(dataset)
        return passport_of(benchmark, profile, split, labels, benchmark.lists(labels, profile, split), source)

    def split(self, dataset: str, profile: str, split: int, needs: Collection[str]) -> Split:
        """Returns a split with its images, downloading missing ones. Raises UserError if that fails."""
        return Split.of(self.benchmark(dataset), self.load(dataset, needs), profile, split)

    def line(self, dataset: str, profile: str, splits: Iterable[int], needs: Collection[str]) -> str:
        """Describes the data of some splits in one line: the shared passport text and each short hash, or the missing data.

        Raises:
            UserError: existing data is damaged or contradictory.
        """
        missing = ", ".join(self.benchmark(dataset).missing_files(self.root, needs))
        try:
            passports = [self.passport(dataset, profile, split) for split in splits]
        except MissingData as error:
            return error.line(dataset, variant_of(dataset, profile))
        counts = passports[0].counts_for_groups
        if self.benchmark(dataset).groups == "thirds" and max(counts) == min(counts):
            ratios = self.benchmark(dataset).other_profiles
            advice = "choose a long-tailed variant with --variants, such as ir=50" if ratios else "give a long-tailed list"
            log.warning(
                "%s: all classes of the variant %s have %s, so that many, medium and few are arbitrary thirds of the classes; "
                "%s",
                *(dataset, variant_of(dataset, profile), counted(counts[0], "training image"), advice),
            )
        shorts = ", ".join(f"split {passport.split}: {passport.short}" for passport in passports)
        return f"{with_variants(passports[0].line)}; {shorts}" + (f"; missing: {missing}" if missing else "")


def _restored(data_root: Path, places: Mapping[str, Path]) -> DataCache:
    """A pickled cache in another process, whose parent has checked the image files."""
    for name, place in places.items():
        set_place(name, place, readable=True)
    return DataCache(data_root)
