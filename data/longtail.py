"""Long-tailed and balanced index lists, made from labels alone: the parts of every construction here."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class IndexLists:
    """One split of one benchmark: five lists of indices into its training images, in the official order."""

    pretrain: Indices  # long-tailed, without labels
    balanced: Indices  # the balanced twin of equal size
    fewshot: Indices  # labelled images of the few-shot probe
    train: Indices  # labelled images of the full-shot probe, balanced
    val: Indices  # held out for every choice a probe makes

    @property
    def labelled(self) -> Indices:
        """Every training image that a probe may look at, each once, in order."""
        return np.unique(np.concatenate([self.train, self.val, self.fewshot]))


def exponential_profile(largest: int, ratio: float, classes: int) -> list[int]:
    """Images per class from head to tail: floor(largest * ratio^(-c / (classes - 1))), as in Cao et al. 2019.

    Args:
        largest: images of the first class.
        ratio: images of the first class over images of the last.
        classes: how many classes.
    """
    return [int(largest * ratio ** (-c / (classes - 1))) for c in range(classes)]


def hold_out(labels: Indices, held_out: int) -> tuple[list[list[int]], list[list[int]]]:
    """Splits each class into a held-out part and a pool, by one stream `Random(0)` over the classes in order.

    Returns:
        (held-out indices by class, pool indices by class), each in shuffled order.
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
    """A copy of each class's pool, shuffled by one stream `Random(seed)` over the classes in order."""
    stream = Random(seed)
    shuffled = []
    for indices in pool:
        copy = list(indices)
        stream.shuffle(copy)
        shuffled.append(copy)
    return shuffled


def take(by_class: Sequence[Sequence[int]], counts: int | Sequence[int]) -> Indices:
    """The first `counts` indices of each class (one number, or one per class), classes one after the other."""
    if isinstance(counts, int):
        counts = [counts] * len(by_class)
    return np.array([i for indices, n in zip(by_class, counts, strict=True) for i in indices[:n]], dtype=np.int64)


def cut(shuffled: Sequence[Sequence[int]], order: Sequence[int], counts: Sequence[int]) -> dict[str, Indices]:
    """Cuts the pretraining list and its balanced twin from each class's shuffled images, as prefixes, so that they nest.

    Args:
        shuffled: indices by class.
        order: classes from largest to smallest.
        counts: images of the classes in that order.

    Returns:
        `pretrain` and `balanced`, as `IndexLists` names them.
    """
    by_class = dict(zip(order, counts, strict=True))
    pretrain = take(shuffled, [by_class[c] for c in range(len(shuffled))])
    return {"pretrain": pretrain, "balanced": take(shuffled, sum(counts) // len(counts))}


def thirds(counts: Sequence[int]) -> tuple[int, int, int]:
    """Classes in many, medium and few where these are thirds of the classes by size; what is left over is in many."""
    third = len(counts) // 3
    return len(counts) - 2 * third, third, third


def by_number(counts: Sequence[int]) -> tuple[int, int, int]:
    """Classes in many, medium and few where these have more than 100, 20 to 100, and fewer than 20 images."""
    many, few = sum(n > 100 for n in counts), sum(n < 20 for n in counts)
    return many, len(counts) - many - few, few


def fingerprint(indices: Indices) -> str:
    """SHA-256 of an index list's values as little-endian int64, in their order."""
    return hashlib.sha256(np.ascontiguousarray(indices, dtype="<i8").tobytes()).hexdigest()
