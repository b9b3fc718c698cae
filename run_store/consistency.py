"""Consistency of accuracy records: all their accuracies follow from which test images are classified correctly."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from eval.groups import RULES, break_down_each

if TYPE_CHECKING:
    from run_store.records import AccuracyRecord

TOLERANCE = 1e-6  # percentage points
CHUNK = 2**24  # predictions that are counted at a time
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
    found = break_down_each(accuracy, records[0].group_counts)
    own, other = sorted(RULES, key=lambda rule: RULES[rule] != records[0].grouping)
    others = [record.other_groups for record in records]
    columns: list[tuple[str, Sequence[object], Any]] = [(name, records, getattr(found, name)) for name in SUMMARY]
    columns += [(name, records, getattr(found.groups[own], name)) for name in GROUPED]
    columns += [(name, others, getattr(found.groups[other], name)) for name in GROUPED]
    columns += [
        ("group_sizes", owners, np.array(found.groups[rule].group_sizes)) for owners, rule in ((records, own), (others, other))
    ]
    columns += [("draw_means", records, accuracy.mean(axis=2)), ("class_accuracy", records, accuracy.mean(axis=1))]
    wrong: dict[int, str] = {}
    for name, owners, recomputed in columns:
        given = np.array([getattr(one, name) for one in owners], dtype=np.float64)  # None becomes NaN
        expected = np.nan if recomputed is None else recomputed
        same = np.isclose(given, expected, rtol=0, atol=TOLERANCE, equal_nan=True).reshape(len(records), -1).all(axis=1)
        for number in np.flatnonzero(~same).tolist():
            wrong.setdefault(number, f"{name} does not follow from the predictions")
    yield from ((records[number], reason) for number, reason in wrong.items())


def _class_accuracy(records: "Sequence[AccuracyRecord]") -> NDArray[np.float64]:
    """(R, D, C) accuracies in per cent of R records with equal `test_counts` and number of draws."""
    counts = np.array(records[0].test_counts)
    packed = np.frombuffer(b"".join(record.correct + b"\0" for record in records), dtype=np.uint8).reshape(len(records), -1)
    # ones before the first bit of each class: in whole bytes, and in the byte of that bit; ten times as fast as unpacking
    edges = np.arange(len(records[0].draw_means))[:, None] * counts.sum() + np.cumsum([0, *counts])
    whole = np.cumsum(np.bitwise_count(packed), axis=1, dtype=np.int64)
    rest = np.bitwise_count(packed[:, edges // 8] >> (8 - edges % 8).astype(np.uint8))
    before = np.where(edges < 8, 0, whole[:, edges // 8 - 1]) + rest
    return 100 * np.diff(before, axis=2) / counts
