"""Holdout validation list for benchmarks without a published one.

A tenth of the labelled training images of each class is held out: rounded down, at least one image of a class with two or more,
few-shot images excluded, drawn by one random stream `seed_of(0, "validation")` over the classes in order. Without a labelled
training list, probes are trained on the labels of the pretraining list. The pretraining list is not changed: it contains the
held-out images, unlabelled.
"""

from dataclasses import dataclass, field, replace
from random import Random

import numpy as np

from core.seeds import seed_of
from data.benchmark import Source
from data.lists.longtail import IndexLists, Indices

HELD_OUT = 10  # one in this many labelled images of a class is held out
EMPTY: Indices = np.empty(0, dtype=np.int64)


@dataclass(frozen=True)
class FileIndexLists(IndexLists):
    """Index lists from files, including the 100-shot list of some benchmarks; a missing list is empty."""

    shot100: Indices = field(default_factory=lambda: EMPTY)

    @property
    def labelled(self) -> Indices:
        """Sorted indices of all labelled training images."""
        return np.union1d(super().labelled, self.shot100)


def add_missing_lists(lists: FileIndexLists, labels: Indices, source: Source) -> tuple[FileIndexLists, Source]:
    """Adds missing labelled and validation lists, and notes them in the source's name.

    Args:
        lists: index lists as read from files.
        labels: (N,) labels of all training images.
        source: source of the images and lists.
    """
    notes = []
    if not len(lists.train):
        lists = replace(lists, train=np.setdiff1d(lists.pretrain, lists.val))
        notes.append("probes learn from the long-tailed labels")
    if not len(lists.val):
        # few-shot images are excluded if possible: the few-shot probe must not be validated on its training images
        others = np.setdiff1d(lists.train, lists.fewshot)
        _, val = hold_out_tenth(others if len(others) else lists.train, labels)
        lists = replace(lists, train=np.setdiff1d(lists.train, val), fewshot=np.setdiff1d(lists.fewshot, val), val=val)
        notes.append("validation list of this suite")
    return lists, replace(source, name="; ".join([source.name, *notes]))


def hold_out_tenth(train: Indices, labels: Indices) -> tuple[Indices, Indices]:
    """Splits labelled images into (kept, held out), each ordered by class; see the module docstring.

    Args:
        train: indices of the labelled images.
        labels: (N,) labels of all images.
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
