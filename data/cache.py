"""Cache of opened data sets: each benchmark is read once per process, and downloaded only when a run needs it."""

from collections.abc import Collection, Iterable
from pathlib import Path

from data.benchmark import BENCHMARKS, Benchmark, Images, NotThere, Source
from data.lists.longtail import Indices
from data.passport import Passport, passport_of
from data.split import Split


class DataCache:
    """Benchmarks and images that have been opened under one data root."""

    def __init__(self, data_root: Path) -> None:
        self.root = data_root
        self._benchmarks: dict[str, Benchmark] = {}
        self._images: dict[str, Images] = {}
        self._needs: dict[str, frozenset[str]] = {}  # index lists whose image files have been checked

    def __reduce__(self) -> tuple[type["DataCache"], tuple[Path]]:
        """A copy in another process reads the data again, which takes less time than to send it."""
        return DataCache, (self.root,)

    def benchmark(self, dataset: str) -> Benchmark:
        """The benchmark of that name; one that reads its lists from files keeps them."""
        return self._benchmarks.setdefault(dataset, BENCHMARKS[dataset]())

    def load(self, dataset: str, needs: Collection[str], *, fetch: bool = True) -> Images:
        """The images, downloaded where they are missing. Raises UserError where that is not possible.

        Args:
            dataset: registered name.
            needs: as for `Benchmark.load`.
            fetch: whether missing data is downloaded; else NotThere is raised.
        """
        benchmark, known = self.benchmark(dataset), self._needs.get(dataset, frozenset())
        if dataset not in self._images or (benchmark.in_files and not known.issuperset(needs)):
            self._images[dataset] = benchmark.load(self.root, known.union(needs), fetch=fetch)
            self._needs[dataset] = known.union(needs)
        return self._images[dataset]

    def labels(self, dataset: str) -> tuple[Indices, Source]:
        """Labels of the training images, and the source; downloads nothing. Raises UserError where they are missing."""
        benchmark = self.benchmark(dataset)
        if benchmark.in_files and dataset not in self._images:
            return benchmark.labels(self.root)
        if dataset not in self._images:  # labels of images in memory cost as much to verify as all of them
            self._images[dataset] = benchmark.load(self.root, fetch=False)
        images = self._images[dataset]
        return images.train_labels, images.source

    def passport(self, dataset: str, profile: str, split: int) -> Passport:
        """The passport of a split; downloads nothing. Raises UserError where the labels are missing."""
        labels, source = self.labels(dataset)
        benchmark = self.benchmark(dataset)
        return passport_of(benchmark, profile, split, labels, benchmark.lists(labels, profile, split), source)

    def split(self, dataset: str, profile: str, split: int, needs: Collection[str]) -> Split:
        """A split with its images, downloaded where they are missing. Raises UserError where that is not possible."""
        return Split.of(self.benchmark(dataset), self.load(dataset, needs), profile, split)

    def line(self, dataset: str, profile: str, splits: Iterable[int], needs: Collection[str]) -> str:
        """One line on the data of some splits: what their passports share and the short hash of each, or what is missing.

        Raises:
            UserError: existing data is damaged or contradictory.
        """
        lacking = ", ".join(self.benchmark(dataset).lacking(self.root, needs))
        try:
            passports = [self.passport(dataset, profile, split) for split in splits]
        except NotThere as error:
            return f"NO PASSPORT: {dataset}, profile {profile}: {error}"
        shorts = ", ".join(f"split {passport.split}: {passport.short}" for passport in passports)
        return f"{passports[0].line}; {shorts}" + (f"; not there yet: {lacking}" if lacking else "")
