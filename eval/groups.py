"""Accuracy of many, medium and few classes: groups of classes by their number of training images."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from data.benchmark import Grouping
from data.lists.longtail import by_number, by_thirds

RULES: dict[Grouping, str] = {
    "thirds": "thirds of the classes by training images",
    "number": "classes with more than 100, 20 to 100, and fewer than 20 training images",
}
GROUPS = ("many", "medium", "few")


Value = TypeVar("Value", float, NDArray[np.float64])  # of one result, or (R,) of R results


@dataclass(frozen=True)
class GroupMeans(Generic[Value]):
    """Mean accuracies of the three groups in per cent. None for an empty group and for values that depend on one."""

    many: Value | None
    medium: Value | None
    few: Value | None
    group_std: Value | None  # of (many, medium, few), ddof 0: "Std" in SDCLR's tables, as its author states
    head_tail_gap: Value | None  # many minus few
    group_sizes: list[int]  # classes in many, medium, few


@dataclass(frozen=True)
class Breakdown(Generic[Value]):
    """Summary of per-class accuracies in per cent."""

    mean: Value  # over classes
    class_std: Value  # over classes, ddof 0
    worst: Value  # lowest accuracy of a class
    harmonic_mean: Value  # over classes; 0 if a class has accuracy 0
    groups: dict[Grouping, GroupMeans[Value]]  # by grouping rule


def grouped(counts: ArrayLike, grouping: Grouping = "thirds") -> list[NDArray[np.int64]]:
    """Classes of the many, medium and few group of `counts` (images per class) under a grouping rule; a group may be empty."""
    return by_number(np.asarray(counts)) if grouping == "number" else by_thirds(np.asarray(counts))


def break_down(class_accuracy: ArrayLike, counts: ArrayLike) -> Breakdown[float]:
    """Summarises per-class accuracies over classes and over groups of classes.

    Args:
        class_accuracy: (C,) in per cent, or (D, C) for D draws of the labelled images. Every statistic is computed per draw and
            averaged over the draws, as papers compute the deviation over groups per run.
        counts: (C,) images per class that define the groups.
    """
    found = break_down_each(np.atleast_2d(np.asarray(class_accuracy, dtype=np.float64))[None], counts)
    return Breakdown(
        mean=float(found.mean[0]),
        class_std=float(found.class_std[0]),
        worst=float(found.worst[0]),
        harmonic_mean=float(found.harmonic_mean[0]),
        groups={
            rule: GroupMeans(
                many=_only(means.many),
                medium=_only(means.medium),
                few=_only(means.few),
                group_std=_only(means.group_std),
                head_tail_gap=_only(means.head_tail_gap),
                group_sizes=means.group_sizes,
            )
            for rule, means in found.groups.items()
        },
    )


def break_down_each(class_accuracy: NDArray[np.float64], counts: ArrayLike) -> Breakdown[NDArray[np.float64]]:
    """Like `break_down` for R results on the same classes, (R, D, C)."""
    with np.errstate(divide="ignore"):
        harmonic_mean = 1 / np.mean(1 / class_accuracy, axis=2)  # 0 if a class has accuracy 0
    return Breakdown(
        mean=class_accuracy.reshape(len(class_accuracy), -1).mean(axis=1),
        class_std=class_accuracy.std(axis=2).mean(axis=1),
        worst=class_accuracy.min(axis=2).mean(axis=1),
        harmonic_mean=harmonic_mean.mean(axis=1),
        groups={rule: _group_means(class_accuracy, grouped(counts, rule)) for rule in get_args(Grouping)},
    )


def class_accuracies(predicted: NDArray[np.int64], labels: NDArray[np.int64], classes: int) -> list[float]:
    """Per-class accuracies in per cent. Raises ValueError for a class without test images."""
    total = np.bincount(labels, minlength=classes)
    if len(total) > classes or not total.all():
        raise ValueError(f"test labels do not cover exactly the classes 0 to {classes - 1}")
    right = np.bincount(labels[predicted == labels], minlength=classes)
    return (100 * right / total).tolist()


def _group_means(class_accuracy: NDArray[np.float64], groups: Sequence[NDArray[np.int64]]) -> GroupMeans[NDArray[np.float64]]:
    by_draw = [class_accuracy[:, :, group].mean(axis=2) if len(group) else None for group in groups]
    full = [values for values in by_draw if values is not None]
    many, medium, few = (None if values is None else values.mean(axis=1) for values in by_draw)
    return GroupMeans(
        many=many,
        medium=medium,
        few=few,
        group_std=np.std(full, axis=0).mean(axis=1) if len(full) == len(groups) else None,
        head_tail_gap=None if many is None or few is None else many - few,
        group_sizes=[len(group) for group in groups],
    )


def _only(values: NDArray[np.float64] | None) -> float | None:
    return None if values is None else float(values[0])
