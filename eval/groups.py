"""Head, middle and tail: per-class accuracies summarised by how many training images the classes have."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from data.benchmark import Grouping
from data.lists.longtail import by_number, by_thirds

RULES: dict[Grouping, str] = {
    "thirds": "thirds of the classes by training images",
    "number": "classes with more than 100, 20 to 100, and fewer than 20 training images",
}
GROUPS = ("many", "medium", "few")


@dataclass(frozen=True)
class Breakdown:
    """Summary of per-class accuracies, all in per cent."""

    mean: float  # over classes
    many: float
    medium: float
    few: float
    group_std: float  # of (many, medium, few), ddof 0: the field's "Std", as SDCLR's author states it
    class_std: float  # over classes, ddof 0
    group_sizes: list[int]  # classes in many, medium, few


def grouped(counts: Sequence[int] | np.ndarray, grouping: Grouping = "thirds") -> list[np.ndarray]:
    """Classes of the many, medium and few groups by the rule of that name. Raises ValueError for a group without classes."""
    groups = by_number(counts) if grouping == "number" else by_thirds(counts)
    if not all(map(len, groups)):
        raise ValueError(f"a group of {RULES[grouping]} is empty")
    return groups


def break_down(
    class_accuracy: Sequence[float] | np.ndarray, counts: Sequence[int] | np.ndarray, grouping: Grouping = "thirds"
) -> Breakdown:
    """Summarises per-class accuracies (per cent) under the groups of `counts`."""
    accuracy = np.asarray(class_accuracy, dtype=np.float64)
    groups = grouped(counts, grouping)
    many, medium, few = (float(accuracy[group].mean()) for group in groups)
    return Breakdown(
        mean=float(accuracy.mean()),
        many=many,
        medium=medium,
        few=few,
        group_std=float(np.std([many, medium, few])),
        class_std=float(np.std(accuracy)),
        group_sizes=[len(group) for group in groups],
    )


def class_accuracies(predicted: np.ndarray, labels: np.ndarray, classes: int) -> list[float]:
    """Per cent of each class's images that were predicted right. Raises ValueError for a class without test images."""
    total = np.bincount(labels, minlength=classes)
    if len(total) > classes or not total.all():
        raise ValueError(f"test labels do not cover exactly the classes 0 to {classes - 1}")
    right = np.bincount(labels[predicted == labels], minlength=classes)
    return (100 * right / total).tolist()
