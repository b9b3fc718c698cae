"""Features of a frozen backbone: extracted once from unaugmented images for all probes; augmented ones batch by batch."""

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
from data.prefetch import to_cpu
from data.split import Split
from eval.groups import grouped

BLOCK = 4096  # features processed at a time, to avoid a second copy of all
ProgressCallback = Callable[[int, int], None]  # called with (images processed, images in total)


@dataclass(frozen=True)
class LabelledFeatures:
    """Features and labels of n images, stored as indices into a feature bank that may be shared."""

    bank: Tensor  # (K, d) float32 on the CPU
    index: Tensor  # (n,) int64, rows of the bank
    labels: Tensor  # (n,) int64

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, which: Tensor | slice) -> tuple[Tensor, Tensor]:
        """Copies of the features (b, d) and labels (b,) of a selection."""
        return self.bank.index_select(0, self.index[which]), self.labels[which]  # faster than indexing, same result

    def blocks(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields all features and labels in order, `BLOCK` at a time, so that no second copy is needed."""
        for start in range(0, len(self), BLOCK):
            yield self[start : start + BLOCK]


class ProgressCounter:
    """Counts the images that were passed through a backbone, for a progress bar."""

    def __init__(self, callback: ProgressCallback):
        self._callback, self._processed, self._total, self._expected = callback, 0, 0, 0

    def expect(self, images: int) -> None:
        """Adds the images of several later extractions to the total."""
        self._expected += images
        self._total += images

    def start(self, images: int) -> None:
        """Starts an extraction; adds its images to the total unless `expect` has done so."""
        if self._expected >= images:
            self._expected -= images
        else:
            self._total += images

    def advance(self, images: int) -> None:
        """Counts processed images and calls the callback."""
        self._processed += images
        self._callback(self._processed, self._total)


class FrozenFeatures:
    """Features of one split of a benchmark under a frozen backbone in eval mode: the input of every probe."""

    def __init__(
        self,
        backbone: nn.Module,
        split: Split,
        corpus: Corpus,
        needs: Iterable[str],
        counter: ProgressCounter | None = None,
    ):
        """Extracts the features of the unaugmented test images and of the training images of some index lists.

        Args:
            backbone: (B, 3, H, W) to (B, d); set to eval mode.
            split: images, labels and index lists.
            corpus: of the run; computes features at the run's precision.
            needs: names of the index lists that `unaugmented` will be called with.
            counter: counts processed images.

        Raises:
            UserError: an image file cannot be read, or a feature is not finite.
        """
        self.backbone = backbone.eval()
        self.split, self.corpus = split, corpus
        self.images, self.lists, self.classes = split.images, split.lists, split.classes
        self.counter = counter or ProgressCounter(lambda done, total: None)
        self._fp32: dict[tuple[str, ...], FrozenFeatures] = {}
        self._last: tuple[tuple[int, bytes], LabelledFeatures] | None = None
        named = [getattr(self.lists, name) for name in dict.fromkeys(needs)]
        needed = np.unique(np.concatenate(named)) if named else np.zeros(0, dtype=np.int64)
        self._position = torch.full((len(self.images.train),), -1)
        self._position[torch.from_numpy(needed)] = torch.arange(len(needed))
        self._train_labels = torch.from_numpy(self.images.train_labels)
        self._bank = self._extract(self.images.train, needed) if len(needed) else torch.empty(0, 0)
        self.test = LabelledFeatures(
            self._extract(self.images.test, np.arange(len(self.images.test))),
            torch.arange(len(self.images.test)),
            torch.from_numpy(self.images.test_labels),
        )

    @property
    def groups(self) -> list[NDArray[np.int64]]:
        """Classes of the many, medium and few group."""
        return grouped(self.split.group_counts, self.split.benchmark.groups)

    @property
    def device(self) -> torch.device:
        """Device of the run, on which heads are trained."""
        return self.corpus.backend.device

    @property
    def in_files(self) -> bool:
        """Whether the benchmark's images are files, not an array in memory."""
        return isinstance(self.images.train, ImageFiles)

    def in_fp32(self, needs: Iterable[str]) -> "FrozenFeatures":
        """Features of the same backbone and split in float32; this object if the run's precision is float32."""
        if self.corpus.precision == "fp32":
            return self
        key = tuple(needs)
        if key not in self._fp32:
            corpus = replace(self.corpus, precision="fp32")
            self._fp32[key] = FrozenFeatures(self.backbone, self.split, corpus, key, self.counter)
        return self._fp32[key]

    def unaugmented(self, indices: Indices) -> LabelledFeatures:
        """Features of unaugmented training images. Raises ValueError for an image that is in none of the lists of `needs`."""
        index = torch.from_numpy(indices)
        position = self._position[index]
        if len(position) and position.min() < 0:
            raise ValueError("no features for images outside the index lists of `needs`")
        return LabelledFeatures(self._bank, position, self._train_labels[index])

    def augmented(self, indices: Indices, seed: int, purpose: str, draw: int = 0) -> LabelledFeatures:
        """Features of weakly augmented training images (`data/views/weak_augmentation.py`), one pass over `indices`.

        The last pass is cached if images are in memory, as several probes use the same one.

        Args:
            indices: of the training images.
            seed: of the probe.
            purpose: name of the random stream.
            draw: number of the pass, which draws another augmentation.
        """
        weak = seed_of(seed, purpose, draw)
        key = (weak, indices.tobytes())
        if self._last is None or self._last[0] != key:
            bank = self._extract(self.images.train, indices, weak=weak)
            rows = LabelledFeatures(bank, torch.arange(len(indices)), self._train_labels[torch.from_numpy(indices)])
            self._last = (key, rows)
        rows = self._last[1]
        if self.in_files:  # features of a pass can fill the memory
            self._last = None
        return rows

    def augmented_test(self, seed: int, purpose: str, draw: int = 0) -> LabelledFeatures:
        """Features of all weakly augmented test images in order. Arguments as for `augmented`."""
        bank = self._extract(self.images.test, np.arange(len(self.images.test)), weak=seed_of(seed, purpose, draw))
        return LabelledFeatures(bank, self.test.index, self.test.labels)

    def augmented_batches(self, indices: Indices, seed: int, batch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields features (b, d) and labels (b,) of weakly augmented training images in the order of `indices`.

        Memory does not grow with the number of images. Only the last batch may be smaller than `batch`.

        Args:
            indices: of the training images.
            seed: of the augmentation.
            batch: batch size.
        """
        labels = self._train_labels[torch.from_numpy(indices)]
        done, rest = 0, torch.empty(0)
        for rows in self._embed(self.images.train, indices, seed):
            rest = torch.cat([rest, rows]) if len(rest) else rows
            whole = len(rest) - len(rest) % batch
            for part in rest[:whole].split(batch):
                yield part, labels[done : done + len(part)]
                done += len(part)
            rest = rest[whole:]
        if len(rest):
            yield rest, labels[done:]

    def _extract(self, images: NDArray[np.uint8] | ImageFiles, indices: Indices, weak: int | None = None) -> Tensor:
        """Returns (K, d) float32 on the CPU, allocated once and filled batch by batch."""
        bank, done = torch.empty(0, 0), 0
        for rows in self._embed(images, indices, weak):
            if not done:
                bank = torch.empty(len(indices), rows.shape[1])
            bank[done : done + len(rows)] = rows
            done += len(rows)
        return bank

    def _embed(self, images: NDArray[np.uint8] | ImageFiles, indices: Indices, weak: int | None) -> Iterator[Tensor]:
        self.counter.start(len(indices))
        try:
            for rows in to_cpu(self.corpus.embed(self._forward, images[indices], black=False, augmented=weak)):
                if not rows.isfinite().all():
                    raise UserError("the backbone returns features that are not finite (NaN or infinity); check its weights")
                yield rows
                self.counter.advance(len(rows))
        except Unreadable as error:  # accuracies on the remaining images would not be comparable
            raise UserError(f"cannot read an image file that the probes use; {error.remedy} it: {error}") from error

    @torch.no_grad()  # not around the loop over batches: the context of a generator stays active in its caller
    def _forward(self, images: Tensor) -> Tensor:
        return self.backbone(images)
