"""The lists of a benchmark by files, and those that this suite makes where the field has none.

Where a set has no validation list, a part of the labelled training list is held out: of each class with two images or more that
are not few-shot images a tenth, rounded down, but at least one; drawn by one stream `seed_of(0, "validation")` over the classes
in order. Where it has no labelled list of its own either, probes learn from the long-tailed list's labels. The pretraining list
stays as it is published, so it contains such held-out images, without labels.
"""

from dataclasses import dataclass, field, replace
from random import Random

import numpy as np

from core.seeds import seed_of
from data.benchmark import Source
from data.lists.longtail import IndexLists, Indices

HELD_OUT = 10  # one of so many labelled images of a class is held out
NONE: Indices = np.empty(0, dtype=np.int64)


@dataclass(frozen=True)
class ListedLists(IndexLists):
    """The five lists of any benchmark, empty where it has none, and the 100-shot list of some."""

    shot100: Indices = field(default_factory=lambda: NONE)

    @property
    def labelled(self) -> Indices:
        """Every training image that a probe may look at, each once."""
        return np.union1d(super().labelled, self.shot100)


def completed(lists: ListedLists, labels: Indices, source: Source) -> tuple[ListedLists, Source]:
    """The lists with labelled and validation images, and the source with a note of what of them is this suite's.

    Args:
        lists: as they were read.
        labels: (N,) of all training images.
        source: of the images and lists.
    """
    notes = []
    if not len(lists.train):
        lists = replace(lists, train=np.setdiff1d(lists.pretrain, lists.val))
        notes.append("probes learn from the long-tailed labels")
    if not len(lists.val):
        # not of the few-shot images, where others are left: that probe must not choose by what it has learned
        others = np.setdiff1d(lists.train, lists.fewshot)
        _, val = hold_out_tenth(others if len(others) else lists.train, labels)
        lists = replace(lists, train=np.setdiff1d(lists.train, val), fewshot=np.setdiff1d(lists.fewshot, val), val=val)
        notes.append("validation list of this suite")
    return lists, replace(source, name="; ".join([source.name, *notes]))


def hold_out_tenth(train: Indices, labels: Indices) -> tuple[Indices, Indices]:
    """Splits labelled images into those kept and those held out, as the head of this file says; both in order of class.

    Args:
        train: positions of the labelled images.
        labels: (N,) of all images.
    """
    stream = Random(seed_of(0, "validation"))
    by_class = train[np.argsort(labels[train], kind="stable")]
    starts = np.flatnonzero(np.diff(labels[by_class], prepend=-1))
    kept, held = [], []
    for members in np.split(by_class, starts[1:]):
        shuffled = members.tolist()
        stream.shuffle(shuffled)
        count = max(1, len(shuffled) // HELD_OUT) if len(shuffled) > 1 else 0
        held += shuffled[:count]
        kept += shuffled[count:]
    return np.array(kept, dtype=np.int64), np.array(held, dtype=np.int64)
