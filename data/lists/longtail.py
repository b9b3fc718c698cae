"""Construction of long-tailed and balanced index lists from labels."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class IndexLists:
    """Index lists of one split: five lists of indices into the training images, in the official order."""

    pretrain: Indices  # long-tailed pretraining set, labels unused
    balanced: Indices  # balanced pretraining set of equal size
    fewshot: Indices  # training set of the few-shot probe
    train: Indices  # training set of the full-shot probe, balanced
    val: Indices  # validation set for model selection of the probes

    @property
    def labelled(self) -> Indices:
        """Sorted indices of all labelled training images."""
        return np.unique(np.concatenate([self.train, self.val, self.fewshot]))


def exponential_profile(largest: int, ratio: float, classes: int) -> list[int]:
    """Images per class from head to tail: floor(largest * ratio^(-c / (classes - 1))), as in Cao et al. 2019.

    Args:
        largest: images of the largest class.
        ratio: imbalance ratio, largest over smallest class count.
        classes: number of classes.
    """
    return [int(largest * ratio ** (-c / (classes - 1))) for c in range(classes)]


def hold_out(labels: Indices, held_out: int) -> tuple[list[list[int]], list[list[int]]]:
    """Splits each class into a holdout and the remainder, shuffled by one stream `Random(0)` over the classes in order.

    Returns:
        (holdout indices by class, remaining indices by class), each in shuffled order.
    """
    stream = Random(0)
    val, pool = [], []
    for c in range(int(labels.max()) + 1):
        indices = np.flatnonzero(labels == c).tolist()
        stream.shuffle(indices)
        val.append(indices[:held_out])
        pool.append(indices[held_out:])
    return val, pool


def shuffled_classes(pool: Sequence[Sequence[int]], seed: int) -> list[list[int]]:
    """Shuffles a copy of each class's indices by one stream `Random(seed)` over the classes in order."""
    stream = Random(seed)
    shuffled = []
    for indices in pool:
        copy = list(indices)
        stream.shuffle(copy)
        shuffled.append(copy)
    return shuffled


def take(by_class: Sequence[Sequence[int]], counts: int | Sequence[int]) -> Indices:
    """Concatenates the first `counts` indices of each class (one number, or one per class)."""
    if isinstance(counts, int):
        counts = [counts] * len(by_class)
    return np.array([i for indices, n in zip(by_class, counts, strict=True) for i in indices[:n]], dtype=np.int64)


def cut(shuffled: Sequence[Sequence[int]], order: Sequence[int], counts: Sequence[int]) -> dict[str, Indices]:
    """Takes the long-tailed and the balanced pretraining list as prefixes of each class's indices, so that they nest.

    Args:
        shuffled: shuffled indices by class.
        order: classes from largest to smallest.
        counts: class counts in that order.

    Returns:
        The fields `pretrain` and `balanced` of `IndexLists`.
    """
    by_class = dict(zip(order, counts, strict=True))
    pretrain = take(shuffled, [by_class[c] for c in range(len(shuffled))])
    return {"pretrain": pretrain, "balanced": take(shuffled, sum(counts) // len(counts))}


def by_thirds(counts: Sequence[int] | np.ndarray) -> list[np.ndarray]:
    """Classes of the many, medium and few groups, by thirds.

    Classes are sorted by training images, fewest first (ties by class number); the first third is "few", the next "medium"
    and the rest "many" (VITA-Group/SDCLR, `exp_analyse.py`): 4, 3 and 3 classes of ten, 34, 33 and 33 of a hundred.

    Args:
        counts: class counts of the pretraining set, three classes or more.
    """
    order = np.argsort(np.asarray(counts), kind="stable")
    third = len(order) // 3
    return [order[2 * third :], order[third : 2 * third], order[:third]]


def by_number(counts: Sequence[int] | np.ndarray) -> list[np.ndarray]:
    """Classes with more than 100, 20 to 100, and fewer than 20 training images (Liu et al., CVPR 2019)."""
    images = np.asarray(counts)
    return [np.flatnonzero(images > 100), np.flatnonzero((images >= 20) & (images <= 100)), np.flatnonzero(images < 20)]


def fingerprint(indices: Indices) -> str:
    """SHA-256 of an index list as little-endian int64, in order."""
    return hashlib.sha256(np.ascontiguousarray(indices, dtype="<i8").tobytes()).hexdigest()
