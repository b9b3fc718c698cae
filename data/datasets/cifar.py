"""The long-tailed CIFAR sets: one construction of index lists from labels, for both, at any imbalance ratio and for any split.

Profile `sdclr`, whose five official splits (VITA-Group/SDCLR, `split/`) come out to the byte:
1. One stream `Random(0)` shuffles the indices of each class, classes in order. The first `held_out` of each are the validation
   list; the rest are the class's pool. The pools, one after the other, are the labelled training list, of CIFAR-100 without the
   first 50 of each: a quirk of the official list, which is therefore 40,000 long.
2. One stream a split, `Random(seed)`, shuffles a copy of each pool. The first images of each are the pretraining list (as many
   as the class's rank in the split's class order gives it), its balanced twin (the mean of that) and the few-shot list (1 % of
   the largest class). So these three nest. Seeds and class orders of the official splits are tables of facts.

Profile `balanced` trains on the balanced twins of these splits; which classes are many, medium and few stays as in the
long-tailed lists.

This suite's own, and labelled so: splits from 6 on, with `seed_of(split, ...)` for seed and class order; and every profile
`ir=RATIO` or `ir=RATIO,n=SIZE`, which differs from `sdclr` in the number of images a class alone. The first keeps the largest
class, so its sets nest: a smaller ratio adds images. The second gives the largest class as many images as leave at most SIZE in
all: sets of different ratios and one size, so that what imbalance costs is not mixed with what fewer images cost.

The other named profile is Cao et al.'s set (kaidic/LDAM-DRW, `imbalance_cifar.py`): NumPy's global stream, seeded once,
shuffles each class in order; class 0 is the largest and nothing is held out from pretraining. Probes use the lists of step 1.
"""

from random import Random
from typing import ClassVar

import numpy as np

from core.errors import UserError, nearest
from core.seeds import seed_of
from data.benchmark import BALANCED, Benchmark
from data.datasets.cifar_profiles import OFFICIAL_SPLITS, RATIO, SIZE, CifarProfiles
from data.lists.longtail import IndexLists, Indices, cut, fingerprint, hold_out, shuffled_classes, take


class CifarLT(Benchmark):
    """What CIFAR-10-LT and CIFAR-100-LT share. Subclasses declare the facts and where the images come from."""

    image_size = 32
    profiles: ClassVar[CifarProfiles]
    other_profiles = (
        f"profile {RATIO}NUMBER: any other imbalance ratio by the construction of the SDCLR splits; this suite's",
        f"profile {RATIO}NUMBER,{SIZE}NUMBER: the same with a largest class that leaves at most so many images in all",
    )
    left_out: ClassVar[int]  # first images of each pool that are not in the official labelled training list
    split_seeds: ClassVar[tuple[int, ...]]
    class_orders: ClassVar[tuple[tuple[int, ...], ...]]  # from largest to smallest, by official split
    pretrain_sha256: ClassVar[tuple[str, ...]]  # of the official pretraining lists, as `fingerprint` takes it

    def profile(self, name: str | None) -> str:
        """The profile's name, or the default's for None; a ratio and size in their one spelling, of 100 alone `sdclr`."""
        if name is None:
            return "sdclr"
        if name.startswith(RATIO):
            return self.profiles.spelled(name)
        if name not in self.profiles:
            raise UserError(f"{self.name} has no profile {name!r}{nearest(name, [*self.profiles, RATIO + 'NUMBER'])}")
        return name

    def lists(self, train_labels: Indices, profile: str, split: int) -> IndexLists:
        """The lists that this file's head describes; official ones are compared with their known sums."""
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
        if profile in ("sdclr", BALANCED) and split <= OFFICIAL_SPLITS:  # both are cut from the same shuffled classes
            official = cut(shuffled, order, self.profiles["sdclr"].counts)["pretrain"]
            if fingerprint(official) != self.pretrain_sha256[split - 1]:
                raise RuntimeError(f"split {split} of {self.title} came out other than the official list; use another Python")
        return lists

    def _seed_and_order(self, split: int) -> tuple[int, tuple[int, ...]]:
        if split <= OFFICIAL_SPLITS:
            return self.split_seeds[split - 1], self.class_orders[split - 1]
        order = list(range(self.profiles.classes))
        Random(seed_of(split, "class order")).shuffle(order)
        return seed_of(split, "images"), tuple(order)


def _as_cao(labels: Indices, split: int) -> list[list[int]]:
    """All images of each class as Cao et al.'s generator shuffles them; their seed is 0, the first split's."""
    stream = np.random.RandomState(split - 1)
    shuffled = []
    for c in range(int(labels.max()) + 1):
        indices = np.flatnonzero(labels == c)
        stream.shuffle(indices)
        shuffled.append(indices.tolist())
    return shuffled
