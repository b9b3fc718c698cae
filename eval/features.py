"""Features of a frozen backbone: of unaugmented images once, shared by every probe; of augmented ones as a stream."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from backbones.corpus import Corpus
from core.errors import UserError
from core.seeds import seed_of
from data.image_files import ImageFiles, Unreadable
from data.lists.longtail import Indices
from data.split import Split
from eval.groups import grouped

BLOCK = 4096  # rows that are looked at together where all of them would be a second copy
Report = Callable[[int, int], None]  # called with (images that have passed the backbone, images in all)


@dataclass(frozen=True)
class Rows:
    """Features and labels of some images in some order; they lie in a bank that others share."""

    bank: Tensor  # (K, d) float32 on the CPU
    at: Tensor  # (n,) int64, where in the bank each is
    labels: Tensor  # (n,) int64

    def __len__(self) -> int:
        return len(self.at)

    def __getitem__(self, which: Tensor | slice) -> tuple[Tensor, Tensor]:
        """Copies of the features (b, d) and labels (b,) at some of the n places."""
        return self.bank.index_select(0, self.at[which]), self.labels[which]  # faster than by brackets, the same

    def blocks(self) -> Iterator[tuple[Tensor, Tensor]]:
        """All of them in order, piece by piece: sums over many images need no second copy of the features."""
        for start in range(0, len(self), BLOCK):
            yield self[start : start + BLOCK]


class Tally:
    """Counts the images that pass a backbone, for whoever waits."""

    def __init__(self, report: Report):
        self._report, self._passed, self._expected, self._announced = report, 0, 0, 0

    def announce(self, images: int) -> None:
        """Tells beforehand how many images several extractions will pass."""
        self._announced += images
        self._expected += images

    def begin(self, images: int) -> None:
        """An extraction begins, announced or not."""
        if self._announced >= images:
            self._announced -= images
        else:
            self._expected += images

    def add(self, images: int) -> None:
        """So many have passed."""
        self._passed += images
        self._report(self._passed, self._expected)


class Frozen:
    """A frozen backbone, in eval mode, before one benchmark's split: what probes see."""

    def __init__(
        self,
        backbone: nn.Module,
        split: Split,
        corpus: Corpus,
        needs: Iterable[str],
        tally: Tally | None = None,
    ):
        """Passes the images of some lists and the test images through the backbone once, unaugmented.

        Args:
            backbone: (B, 3, H, W) to (B, d); put in eval mode.
            split: images, labels and index lists.
            corpus: of the run; computes features at the run's precision.
            needs: names of the lists whose unaugmented features will be asked for.
            tally: counts the images as they pass.

        Raises:
            UserError: a picture cannot be read.
        """
        self.backbone = backbone.eval()
        self.split, self.corpus = split, corpus
        self.images, self.lists, self.classes = split.images, split.lists, split.classes
        self.tally = tally or Tally(lambda done, total: None)
        self._fp32: dict[tuple[str, ...], Frozen] = {}
        self._last: tuple[tuple[int, bytes], Rows] | None = None
        named = [getattr(self.lists, name) for name in dict.fromkeys(needs)]
        needed = np.unique(np.concatenate(named)) if named else np.zeros(0, dtype=np.int64)
        self._place = torch.full((len(self.images.train),), -1)
        self._place[torch.from_numpy(needed)] = torch.arange(len(needed))
        self._train_labels = torch.from_numpy(self.images.train_labels)
        self._bank = self._extract(self.images.train, needed) if len(needed) else torch.empty(0, 0)
        self.test = Rows(
            self._extract(self.images.test, np.arange(len(self.images.test))),
            torch.arange(len(self.images.test)),
            torch.from_numpy(self.images.test_labels),
        )

    @property
    def groups(self) -> list[NDArray[np.int64]]:
        """Classes of the many, the medium and the few group."""
        return grouped(self.split.group_counts, self.split.benchmark.groups)

    @property
    def device(self) -> torch.device:
        """Where heads are best trained."""
        return self.corpus.backend.device

    @property
    def in_files(self) -> bool:
        """Whether the benchmark's images are pictures in files."""
        return isinstance(self.images.train, ImageFiles)

    def in_fp32(self, needs: Iterable[str]) -> "Frozen":
        """The same backbone and split with features in float32; this object if the run's precision is float32."""
        if not self.corpus.bf16:
            return self
        key = tuple(needs)
        if key not in self._fp32:
            corpus = replace(self.corpus, bf16=False)
            self._fp32[key] = Frozen(self.backbone, self.split, corpus, key, self.tally)
        return self._fp32[key]

    def rows(self, indices: Indices) -> Rows:
        """Unaugmented training images by their indices. Raises ValueError for one that is in no list that was named."""
        index = torch.from_numpy(indices)
        at = self._place[index]
        if len(at) and at.min() < 0:
            raise ValueError("features were asked for of images whose list was not named beforehand")
        return Rows(self._bank, at, self._train_labels[index])

    def augmented(self, indices: Indices, seed: int, purpose: str, draw: int = 0) -> Rows:
        """Features of one pass of weakly augmented training images (`data/views/weak_augmentation.py`), kept together.

        The last pass over images in memory is remembered, for probes that share one.

        Args:
            indices: of the training images.
            seed: of the probe.
            purpose: what for; another purpose is another draw.
            draw: number of the pass.
        """
        weak = seed_of(seed, purpose, draw)
        key = (weak, indices.tobytes())
        if self._last is None or self._last[0] != key:
            bank = self._extract(self.images.train, indices, weak=weak)
            rows = Rows(bank, torch.arange(len(indices)), self._train_labels[torch.from_numpy(indices)])
            self._last = (key, rows)
        rows = self._last[1]
        if self.in_files:  # there a pass may be as large as memory
            self._last = None
        return rows

    def augmented_test(self, seed: int, purpose: str, draw: int = 0) -> Rows:
        """The same of all test images, in their order."""
        bank = self._extract(self.images.test, np.arange(len(self.images.test)), weak=seed_of(seed, purpose, draw))
        return Rows(bank, self.test.at, self.test.labels)

    def stream(self, indices: Indices, seed: int, batch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches of features (b, d) and labels (b,) of weakly augmented training images in the order of `indices`.

        Nothing is kept, so memory does not grow with their number. Only the last batch may be smaller.

        Args:
            indices: of the training images.
            seed: of the pass.
            batch: rows of a batch.
        """
        labels = self._train_labels[torch.from_numpy(indices)]
        done, rest = 0, torch.empty(0)
        for rows in self._embedded(self.images.train, indices, seed):
            rest = torch.cat([rest, rows]) if len(rest) else rows
            whole = len(rest) - len(rest) % batch
            for part in rest[:whole].split(batch):
                yield part, labels[done : done + len(part)]
                done += len(part)
            rest = rest[whole:]
        if len(rest):
            yield rest, labels[done:]

    def _extract(self, images: NDArray[np.uint8] | ImageFiles, indices: Indices, weak: int | None = None) -> Tensor:
        """(K, d) float32 on the CPU, written into place batch by batch."""
        bank, done = torch.empty(0, 0), 0
        for rows in self._embedded(images, indices, weak):
            if not done:
                bank = torch.empty(len(indices), rows.shape[1])
            bank[done : done + len(rows)] = rows
            done += len(rows)
        return bank

    def _embedded(self, images: NDArray[np.uint8] | ImageFiles, indices: Indices, weak: int | None) -> Iterator[Tensor]:
        self.tally.begin(len(indices))
        try:
            for rows in self.corpus.embed(self._features, images[indices], black=False, augmented=weak):
                yield rows.cpu()
                self.tally.add(len(rows))
        except Unreadable as error:  # without them the numbers would be of another set of images
            raise UserError(f"a picture of the probes cannot be read, restore it: {error}") from error

    @torch.no_grad()  # here, not around the loop over batches: a generator's context reaches into the code that it yields to
    def _features(self, images: Tensor) -> Tensor:
        return self.backbone(images)
