"""Consistency of accuracy records: all their accuracies follow from which test images are classified correctly."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from eval.groups import RULES, break_down_each

if TYPE_CHECKING:
    from run_store.records import AccuracyRecord

TOLERANCE = 1e-6  # percentage points
CHUNK = 2**24  # predictions that are unpacked at a time
SUMMARY = ("mean", "class_std", "worst", "harmonic_mean")
GROUPED = ("many", "medium", "few", "group_std", "head_tail_gap")


def contradictions(records: "Sequence[AccuracyRecord]") -> "Iterator[tuple[AccuracyRecord, str]]":
    """Yields each record in which a list has a wrong length or a value does not follow from `correct`, with the reason."""
    alike: dict[tuple[object, ...], list[AccuracyRecord]] = {}
    for record in records:
        if reason := _mismatch(record):
            yield record, reason
        else:
            key = (record.grouping, tuple(record.group_counts), tuple(record.test_counts), len(record.draw_means))
            alike.setdefault(key, []).append(record)
    for members in alike.values():  # together, as numpy's calls on one record take longer than its loops
        size = max(1, CHUNK // (members[0].n_test * len(members[0].draw_means)))
        for start in range(0, len(members), size):
            yield from _differences(members[start : start + size])


def _mismatch(record: "AccuracyRecord") -> str:
    """Why the values of a record cannot be recomputed; empty if they can."""
    classes, predictions = len(record.test_counts), len(record.draw_means) * record.n_test
    by_class = (record.class_accuracy, record.class_counts, record.group_counts, record.val_class_accuracy)
    if any(values is not None and len(values) != classes for values in by_class):
        return "lists over classes have different lengths"
    if not predictions or record.n_test != sum(record.test_counts) or len(record.correct) != -(-predictions // 8):
        return "correct, draw_means, test_counts and n_test do not fit"
    if {record.grouping, record.other_groups.grouping} != set(RULES.values()):
        return "a grouping rule is unknown"
    return ""


def _differences(records: "Sequence[AccuracyRecord]") -> "Iterator[tuple[AccuracyRecord, str]]":
    """`contradictions` of records with equal grouping rules, counts and number of draws."""
    accuracy = _class_accuracy(records)
    names = [*SUMMARY, *GROUPED, *(f"{name} of other_groups" for name in GROUPED)]
    names += ["draw_means"] * accuracy.shape[1] + ["class_accuracy"] * accuracy.shape[2]
    own, other = (rule for rule in sorted(RULES, key=lambda rule: RULES[rule] != records[0].grouping))
    expected = [
        [getattr(found, name) for name in SUMMARY]
        + [getattr(found.groups[rule], name) for rule in (own, other) for name in GROUPED]
        for found in break_down_each(accuracy, records[0].group_counts)
    ]
    given = [
        [getattr(record, name) for name in (*SUMMARY, *GROUPED)]
        + [getattr(record.other_groups, name) for name in GROUPED]
        + record.draw_means
        + record.class_accuracy
        for record in records
    ]
    recomputed = np.hstack([np.array(expected, dtype=np.float64), accuracy.mean(axis=2), accuracy.mean(axis=1)])
    # None is NaN in both
    same = np.isclose(recomputed, np.array(given, dtype=np.float64), rtol=0, atol=TOLERANCE, equal_nan=True)
    for number in np.flatnonzero(~same.all(axis=1)).tolist():
        yield records[number], f"{names[np.argmin(same[number])]} does not follow from the predictions"


def _class_accuracy(records: "Sequence[AccuracyRecord]") -> NDArray[np.float64]:
    """(R, D, C) accuracies in per cent of R records with equal `test_counts` and number of draws."""
    draws, counts = len(records[0].draw_means), np.array(records[0].test_counts)
    packed = np.frombuffer(b"".join(record.correct for record in records), dtype=np.uint8).reshape(len(records), -1)
    correct = np.unpackbits(packed, axis=1, count=draws * counts.sum()).reshape(len(records), draws, -1)
    return 100 * np.add.reduceat(correct, np.cumsum(counts) - counts, axis=2, dtype=np.int64) / counts
