"""Accuracy of head, medium and tail classes: groups of classes by their number of training images."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from data.benchmark import Grouping
from data.lists.longtail import by_number, by_thirds

RULES: dict[Grouping, str] = {
    "thirds": "thirds of the classes by training images",
    "number": "classes with more than 100, 20 to 100, and fewer than 20 training images",
}
GROUPS = ("many", "medium", "few")


@dataclass(frozen=True)
class GroupMeans:
    """Mean accuracies of the three groups in per cent. None for an empty group and for values that depend on one."""

    many: float | None
    medium: float | None
    few: float | None
    group_std: float | None  # of (many, medium, few), ddof 0: "Std" in SDCLR's tables, as its author states
    head_tail_gap: float | None  # many minus few
    group_sizes: list[int]  # classes in many, medium, few


@dataclass(frozen=True)
class Breakdown:
    """Summary of per-class accuracies in per cent."""

    mean: float  # over classes
    class_std: float  # over classes, ddof 0
    worst: float  # lowest accuracy of a class
    harmonic_mean: float  # over classes; 0 if a class has accuracy 0
    groups: dict[Grouping, GroupMeans]  # by grouping rule


def grouped(counts: ArrayLike, grouping: Grouping = "thirds") -> list[NDArray[np.int64]]:
    """Classes of the many, medium and few group of `counts` (images per class) under a grouping rule; a group may be empty."""
    return by_number(np.asarray(counts)) if grouping == "number" else by_thirds(np.asarray(counts))


def break_down(class_accuracy: ArrayLike, counts: ArrayLike) -> Breakdown:
    """Summarises per-class accuracies over classes and over groups of classes.

    Args:
        class_accuracy: (C,) in per cent, or (D, C) for D draws of the labelled images. Every statistic is computed per draw and
            averaged over the draws, as papers compute the deviation over groups per run.
        counts: (C,) images per class that define the groups.
    """
    return break_down_each(np.atleast_2d(np.asarray(class_accuracy, dtype=np.float64))[None], counts)[0]


def break_down_each(class_accuracy: NDArray[np.float64], counts: ArrayLike) -> list[Breakdown]:
    """Like `break_down` for R results on the same classes: (R, D, C)."""
    of_all = class_accuracy.reshape(len(class_accuracy), -1).mean(axis=1)
    with np.errstate(divide="ignore"):
        harmonic = (1 / np.mean(1 / class_accuracy, axis=2)).mean(axis=1)  # 0 if a class has accuracy 0
    deviation, worst = class_accuracy.std(axis=2).mean(axis=1), class_accuracy.min(axis=2).mean(axis=1)
    groups = {rule: _group_means(class_accuracy, grouped(counts, rule)) for rule in get_args(Grouping)}
    return [
        Breakdown(
            mean=float(of_all[number]),
            class_std=float(deviation[number]),
            worst=float(worst[number]),
            harmonic_mean=float(harmonic[number]),
            groups={rule: means[number] for rule, means in groups.items()},
        )
        for number in range(len(class_accuracy))
    ]


def class_accuracies(predicted: NDArray[np.int64], labels: NDArray[np.int64], classes: int) -> list[float]:
    """Per-class accuracies in per cent. Raises ValueError for a class without test images."""
    total = np.bincount(labels, minlength=classes)
    if len(total) > classes or not total.all():
        raise ValueError(f"test labels do not cover exactly the classes 0 to {classes - 1}")
    right = np.bincount(labels[predicted == labels], minlength=classes)
    return (100 * right / total).tolist()


def _group_means(class_accuracy: NDArray[np.float64], groups: Sequence[NDArray[np.int64]]) -> list[GroupMeans]:
    sizes = [len(group) for group in groups]
    by_draw = [class_accuracy[:, :, group].mean(axis=2) if len(group) else None for group in groups]
    full = [values for values in by_draw if values is not None]
    deviation = np.std(full, axis=0).mean(axis=1) if len(full) == len(groups) else None
    means = []
    for number in range(len(class_accuracy)):
        many, medium, few = (None if values is None else float(values[number].mean()) for values in by_draw)
        gap = None if many is None or few is None else many - few
        means.append(GroupMeans(many, medium, few, None if deviation is None else float(deviation[number]), gap, sizes))
    return means
