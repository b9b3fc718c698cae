"""Long-tailed CIFAR-10 and CIFAR-100: index lists constructed from labels, at any imbalance ratio and for any split.

Profile `sdclr` reproduces its five official splits (VITA-Group/SDCLR, `split/`) byte for byte:
1. One stream `Random(0)` shuffles the indices of each class, classes in order. The first `held_out` of each class are the
   validation list; the rest is the remainder of the class. The concatenated remainders are the labelled training list. The
   official list of CIFAR-100 omits the first 50 of each remainder and therefore has 40,000 images.
2. One stream per split, `Random(seed)`, shuffles a copy of each remainder. Prefixes of it are the pretraining list (class count
   by the class's rank in the split's class order), the balanced list (the mean of the class counts) and the few-shot list (1 %
   of the largest class), so these three nest. Seeds and class orders of the official splits are constants.

Profile `balanced` pretrains on the balanced lists of these splits; the groups many, medium and few are those of the long-tailed
lists.

Defined by this suite, and labelled so: splits from 6 on, with `seed_of(split, ...)` for seed and class order; and the profiles
`ir=RATIO` and `ir=RATIO,n=SIZE`, which differ from `sdclr` in the class counts only. `ir=RATIO` keeps the largest class, so
these sets nest: a smaller ratio adds images. `ir=RATIO,n=SIZE` chooses the largest class such that the set has at most SIZE
images: sets of equal size at different ratios separate the effect of imbalance from that of fewer images.

The remaining profile is the set of Cao et al. (kaidic/LDAM-DRW, `imbalance_cifar.py`): NumPy's global stream, seeded once,
shuffles each class in order; class 0 is the largest, and pretraining includes the validation images. Probes use the lists of
step 1.
"""

from random import Random
from typing import ClassVar

import numpy as np

from core.errors import UserError
from core.seeds import seed_of
from data.benchmark import BALANCED, Benchmark
from data.datasets.cifar_profiles import OFFICIAL_SPLITS, RATIO, SIZE, CifarProfiles, similar_variant
from data.lists.longtail import IndexLists, Indices, cut, fingerprint, hold_out, shuffled_classes, take
from data.variants import profile_of


class CifarLT(Benchmark):
    """Base class of CIFAR-10-LT and CIFAR-100-LT. Subclasses declare constants and image sources."""

    image_size = 32
    profiles: ClassVar[CifarProfiles]
    other_profiles = (
        f"variant {RATIO}NUMBER: any other imbalance ratio by the construction of the SDCLR splits; defined by this suite",
        f"variant {RATIO}NUMBER,{SIZE}NUMBER: the same with at most this many images in total",
    )
    left_out: ClassVar[int]  # first images of each class remainder that the official labelled training list omits
    split_seeds: ClassVar[tuple[int, ...]]
    class_orders: ClassVar[tuple[tuple[int, ...], ...]]  # per official split, from largest to smallest class
    pretrain_sha256: ClassVar[tuple[str, ...]]  # `fingerprint` of the official pretraining lists

    def profile(self, name: str | None) -> str:
        """Profile of a variant, normalised: None and `ir=100` are `sdclr`."""
        if name is None:
            return "sdclr"
        profile = profile_of(self.name, name)
        if name.startswith(RATIO):
            return self.profiles.normalised(name)
        if profile not in self.profiles:
            raise UserError(f"{self.name} has no variant {name!r}{similar_variant(name, self.variants())}")
        return profile

    def lists(self, train_labels: Indices, profile: str, split: int) -> IndexLists:
        """Constructs the lists, see the module docstring; official lists are verified by checksum."""
        declared = self.profiles[profile]
        val, pool = hold_out(train_labels, self.profiles.held_out)
        if profile == self.profiles.cao:
            shuffled, order = _as_cao(train_labels, split), tuple(range(self.profiles.classes))
        else:
            seed, order = self._seed_and_order(split)
            shuffled = shuffled_classes(pool, seed)
        held_out = {i for indices in val for i in indices}
        lists = IndexLists(
            **cut(shuffled, order, declared.counts),
            fewshot=take([[i for i in c if i not in held_out] for c in shuffled], self.profiles.largest // 100),
            train=take([indices[self.left_out :] for indices in pool], len(train_labels)),
            val=take(val, self.profiles.held_out),
        )
        if profile in ("sdclr", BALANCED) and split <= OFFICIAL_SPLITS:  # both are prefixes of the same shuffled classes
            official = cut(shuffled, order, self.profiles["sdclr"].counts)["pretrain"]
            if fingerprint(official) != self.pretrain_sha256[split - 1]:
                raise RuntimeError(f"split {split} of {self.title} differs from the official list; use another Python version")
        return lists

    def _seed_and_order(self, split: int) -> tuple[int, tuple[int, ...]]:
        if split <= OFFICIAL_SPLITS:
            return self.split_seeds[split - 1], self.class_orders[split - 1]
        order = list(range(self.profiles.classes))
        Random(seed_of(split, "class order")).shuffle(order)
        return seed_of(split, "images"), tuple(order)


def _as_cao(labels: Indices, split: int) -> list[list[int]]:
    """Shuffles all images of each class as in Cao et al., whose seed 0 is split 1."""
    stream = np.random.RandomState(split - 1)
    shuffled = []
    for c in range(int(labels.max()) + 1):
        indices = np.flatnonzero(labels == c)
        stream.shuffle(indices)
        shuffled.append(indices.tolist())
    return shuffled
