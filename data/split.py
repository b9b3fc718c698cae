"""One split of a benchmark with loaded images: the data of one pretraining run and its probes."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data.benchmark import Benchmark, Images
from data.lists.longtail import IndexLists, Indices
from data.passport import Passport, passport_of
from data.views.backend import ImageSet, image_set


@dataclass(frozen=True, eq=False)
class Split:
    """One split of one profile of a benchmark."""

    benchmark: Benchmark
    images: Images
    lists: IndexLists  # indices into the training images
    passport: Passport

    @classmethod
    def of(cls, benchmark: Benchmark, images: Images, profile: str, split: int) -> "Split":
        """Creates the index lists and passport of a split. Raises UserError if the profile lacks that split."""
        lists = benchmark.lists(images.train_labels, profile, split)
        passport = passport_of(benchmark, profile, split, images.train_labels, lists, images.source)
        return cls(benchmark, images, lists, passport)

    @property
    def classes(self) -> int:
        """Number C of classes of the benchmark."""
        return len(self.benchmark.class_names)

    @property
    def class_counts(self) -> NDArray[np.int64]:
        """(C,) class counts of the pretraining set."""
        return np.array(self.passport.counts)

    @property
    def group_counts(self) -> NDArray[np.int64]:
        """(C,) class counts that define the many/medium/few groups: those of the long-tailed set, also for a balanced one."""
        return np.array(self.passport.counts_for_groups)

    @property
    def pretrain_images(self) -> ImageSet:
        """The N images of the pretraining set."""
        return image_set(self.images.train[self.lists.pretrain])

    @property
    def pretrain_labels(self) -> Indices:
        """(N,) class labels of the pretraining set."""
        return self.images.train_labels[self.lists.pretrain]

    @property
    def val_labels(self) -> Indices:
        """(V,) class labels of the validation list."""
        return self.images.train_labels[self.lists.val]
