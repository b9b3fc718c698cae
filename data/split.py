"""One split of a benchmark with its images loaded: the data of one training run and its probes."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data.benchmark import Benchmark, Images
from data.lists.longtail import IndexLists, Indices
from data.passport import Passport, passport_of
from data.views.executor import ImageSet, image_set


@dataclass(frozen=True, eq=False)
class Split:
    """One split of one profile of a benchmark."""

    benchmark: Benchmark
    images: Images
    lists: IndexLists  # positions among the training images
    passport: Passport

    @classmethod
    def of(cls, benchmark: Benchmark, images: Images, profile: str, split: int) -> "Split":
        """The split of that number. Raises UserError where the profile has none."""
        lists = benchmark.lists(images.train_labels, profile, split)
        passport = passport_of(benchmark, profile, split, images.train_labels, lists, images.source)
        return cls(benchmark, images, lists, passport)

    @property
    def classes(self) -> int:
        """Number C of classes of the benchmark."""
        return len(self.benchmark.class_names)

    @property
    def class_counts(self) -> NDArray[np.int64]:
        """(C,) images of each class in the pretraining list."""
        return np.array(self.passport.counts)

    @property
    def group_counts(self) -> NDArray[np.int64]:
        """(C,) images of each class that decide the groups; those of the long-tailed set for a balanced one."""
        return np.array(self.passport.deciding)

    @property
    def pretrain_images(self) -> ImageSet:
        """The N images of the pretraining list."""
        return image_set(self.images.train[self.lists.pretrain])

    @property
    def pretrain_labels(self) -> Indices:
        """(N,) classes of the pretraining list."""
        return self.images.train_labels[self.lists.pretrain]

    @property
    def val_labels(self) -> Indices:
        """(V,) classes of the validation list."""
        return self.images.train_labels[self.lists.val]
