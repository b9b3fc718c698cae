"""Head, middle and tail: per-class accuracies summarised by how many training images the classes have."""

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
    """Mean accuracies of the three groups, in per cent. A group without classes has None, and so has what needs it."""

    many: float | None
    medium: float | None
    few: float | None
    group_std: float | None  # of (many, medium, few), ddof 0: the field's "Std", as SDCLR's author states it
    head_tail_gap: float | None  # many minus few
    group_sizes: list[int]  # classes in many, medium, few


@dataclass(frozen=True)
class Breakdown:
    """Summary of per-class accuracies, all in per cent."""

    mean: float  # over classes
    class_std: float  # over classes, ddof 0
    worst: float  # of the class that is recognised worst
    harmonic_mean: float  # over classes; 0 where a class is never recognised
    groups: dict[Grouping, GroupMeans]  # by every rule


def grouped(counts: ArrayLike, grouping: Grouping = "thirds") -> list[NDArray[np.int64]]:
    """Classes of the many, medium and few groups of `counts` (images per class) by the rule of that name; some may be empty."""
    return by_number(np.asarray(counts)) if grouping == "number" else by_thirds(np.asarray(counts))


def break_down(class_accuracy: ArrayLike, counts: ArrayLike) -> Breakdown:
    """Summarises per-class accuracies under the groups of `counts`.

    Args:
        class_accuracy: (C,) in per cent, or (D, C) of D draws of the labelled images. What is not linear in the accuracies is
            the mean over the draws of each draw's, as the field's deviations over groups are taken run by run.
        counts: (C,) images per class that decide the groups.
    """
    draws = np.atleast_2d(np.asarray(class_accuracy, dtype=np.float64))
    return Breakdown(
        mean=float(draws.mean()),
        class_std=float(draws.std(axis=1).mean()),
        worst=float(draws.min(axis=1).mean()),
        harmonic_mean=float(np.mean([_harmonic_mean(accuracy) for accuracy in draws])),
        groups={rule: _group_means(draws, grouped(counts, rule)) for rule in get_args(Grouping)},
    )


def class_accuracies(predicted: NDArray[np.int64], labels: NDArray[np.int64], classes: int) -> list[float]:
    """Per cent of each class's images that were predicted right. Raises ValueError for a class without test images."""
    total = np.bincount(labels, minlength=classes)
    if len(total) > classes or not total.all():
        raise ValueError(f"test labels do not cover exactly the classes 0 to {classes - 1}")
    right = np.bincount(labels[predicted == labels], minlength=classes)
    return (100 * right / total).tolist()


def _group_means(draws: NDArray[np.float64], groups: Sequence[NDArray[np.int64]]) -> GroupMeans:
    sizes = [len(group) for group in groups]
    by_draw = [draws[:, group].mean(axis=1) if len(group) else None for group in groups]
    many, medium, few = (None if values is None else float(values.mean()) for values in by_draw)
    full = [values for values in by_draw if values is not None]
    std = float(np.std(full, axis=0).mean()) if len(full) == len(groups) else None
    return GroupMeans(many, medium, few, std, None if many is None or few is None else many - few, sizes)


def _harmonic_mean(accuracy: NDArray[np.float64]) -> float:
    return 0.0 if accuracy.min() == 0 else float(1 / np.mean(1 / accuracy))
