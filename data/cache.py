"""The data that is there for a plan: each benchmark read once for all that asks, and nothing fetched before a run needs it."""

from collections.abc import Collection, Iterable
from pathlib import Path

from data.benchmark import BENCHMARKS, Benchmark, Images, NotThere, Source
from data.lists.longtail import Indices
from data.passport import Passport, passport_of


class DataThere:
    """What lies under a data root, as far as anyone has asked."""

    def __init__(self, data_root: Path) -> None:
        self.root = data_root
        self._benchmarks: dict[str, Benchmark] = {}
        self._images: dict[str, Images] = {}
        self._needs: dict[str, frozenset[str]] = {}  # index lists that images in files were looked for by

    def __reduce__(self) -> tuple[type["DataThere"], tuple[Path]]:
        """A copy in another process reads the data again: that takes less time than to send it."""
        return DataThere, (self.root,)

    def benchmark(self, dataset: str) -> Benchmark:
        """The one object of a benchmark: where lists are files, it knows them once they are read."""
        return self._benchmarks.setdefault(dataset, BENCHMARKS[dataset]())

    def load(self, dataset: str, needs: Collection[str]) -> Images:
        """The images, fetched where they are missing. Raises UserError where they cannot be had.

        Args:
            dataset: registered name.
            needs: as `Benchmark.load` has it.
        """
        benchmark, known = self.benchmark(dataset), self._needs.get(dataset, frozenset())
        if dataset not in self._images or (benchmark.in_files and not known.issuperset(needs)):
            self._images[dataset] = benchmark.load(self.root, known.union(needs))
            self._needs[dataset] = known.union(needs)
        return self._images[dataset]

    def labels(self, dataset: str) -> tuple[Indices, Source]:
        """Labels of the training images, and the source; nothing is fetched. Raises UserError where they are not there."""
        benchmark = self.benchmark(dataset)
        if benchmark.in_files and dataset not in self._images:
            return benchmark.labels(self.root)
        if dataset not in self._images:  # labels of images in memory cost as much to verify as all of them
            self._images[dataset] = benchmark.load(self.root, fetch=False)
        images = self._images[dataset]
        return images.train_labels, images.source

    def passport(self, dataset: str, profile: str, split: int) -> Passport:
        """The passport of a split; nothing is fetched. Raises UserError where the labels are not there."""
        labels, source = self.labels(dataset)
        benchmark = self.benchmark(dataset)
        return passport_of(benchmark, profile, split, labels, benchmark.lists(labels, profile, split), source)

    def line(self, dataset: str, profile: str, splits: Iterable[int], needs: Collection[str]) -> str:
        """The data of some splits in a line: what their passports share and the short hash of each, or why there is none yet.

        Raises:
            UserError: something that is there is damaged or contradictory.
        """
        lacking = ", ".join(self.benchmark(dataset).lacking(self.root, needs))
        try:
            passports = [self.passport(dataset, profile, split) for split in splits]
        except NotThere as error:
            return f"NO PASSPORT: {dataset}, profile {profile}: {error}"
        shorts = ", ".join(f"split {passport.split}: {passport.short}" for passport in passports)
        return f"{passports[0].line}; {shorts}" + (f"; not there yet: {lacking}" if lacking else "")
