"""Paired comparison of methods on their common runs (split and seed), by Student's t.

Accuracies of groups differ by many points between splits, as the order of the classes does, and so do those of all methods
alike. Differences are therefore taken within runs. Runs of one split share images and class order, so they are no independent
samples of the benchmark: differences are averaged over the seeds of a split, and the test is over splits. If all common runs
are of one split, it is over its seeds, and its result holds for that split. The split is that of the training: a network that
is probed on several splits is one sample.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t

from reports.comparable import RunKey, run_key
from run_store.records import AccuracyRecord

MIN_PAIRS = 5  # below which nothing is bold and no verdict is given
LEVEL = 0.95
COMPARED = ("mean", "many", "medium", "few")  # means over classes; Std is not compared
TEST = f"paired t-test, {LEVEL:.0%}"
PAIRED = (
    "Differences are paired by split and seed and averaged over the seeds of a split; intervals and tests are by Student's t "
    "over splits (with one split, over its seeds), without correction for multiple comparisons."
)
BOLD = f"Bold: best, and not significantly worse ({TEST})."
RULE = (
    "Best: the method with the most wins minus losses against the other methods, each pair by its mean difference (ties: the "
    f"larger mean). Significantly worse: the {LEVEL:.0%} interval of the difference from the best is below 0. {PAIRED} Methods "
    f"with fewer than {MIN_PAIRS} splits or seeds in common are not compared. Std is never bold."
)


@dataclass(frozen=True)
class Difference:
    """Mean of the paired differences of two methods, in percentage points."""

    mean: float
    low: float | None  # limits of the interval of level LEVEL; None for a single pair
    high: float | None
    pairs: int  # splits, or seeds of the only split


@dataclass(frozen=True)
class Comparison:
    """The comparison of one column."""

    best: int | None  # index of a row; None if no two rows can be compared
    equal: frozenset[int]  # the best row and those not significantly worse
    uncompared: frozenset[int]  # rows with fewer than MIN_PAIRS pairs with the best


def paired_differences(first: Iterable[AccuracyRecord], second: Iterable[AccuracyRecord], metric: str) -> NDArray[np.float64]:
    """First minus second method on the runs in which both have a value, by `differences`."""
    mine, others = (
        {run_key(record): value for record in records if (value := getattr(record, metric)) is not None}
        for records in (first, second)
    )
    return differences(mine, others)


def differences(first: Mapping[RunKey, float], second: Mapping[RunKey, float]) -> NDArray[np.float64]:
    """First minus second on common runs: the mean of each split of the training, or if there is one, of each seed."""
    common = sorted(first.keys() & second.keys())
    one_split = len({split for split, _, _ in common}) == 1
    samples: dict[str | int, list[float]] = {}
    for run in common:
        split, seed, _ = run
        samples.setdefault(seed if one_split else split, []).append(first[run] - second[run])
    return np.array([np.mean(sample) for sample in samples.values()])


def half_interval(values: NDArray[np.float64], fewest: int = MIN_PAIRS) -> float:
    """Half of the interval of the mean of paired differences, by Student's t; NaN for fewer than `fewest`."""
    n = len(values)
    return float(t.ppf((1 + LEVEL) / 2, n - 1) * values.std(ddof=1) / sqrt(n)) if n >= fewest else np.nan


def difference(first: Iterable[AccuracyRecord], second: Iterable[AccuracyRecord], metric: str) -> Difference | None:
    """First minus second method on their common runs; None without a common run or a value, as of an empty group."""
    values = paired_differences(first, second, metric)
    n = len(values)
    if n < 2:
        return Difference(float(values[0]), None, None, 1) if n else None
    mean = float(values.mean())
    half = half_interval(values, fewest=2)
    return Difference(mean, mean - half, mean + half, n)


def best_rows(rows: Sequence[Sequence[AccuracyRecord]]) -> dict[str, Comparison]:
    """The best rows for each column of COMPARED; a row is a list of records.

    The best row has the most wins minus losses against the others, ties by the larger mean: without missing runs, the row with
    the largest mean.
    """
    return {metric: _best(rows, metric) for metric in COMPARED}


def _best(rows: Sequence[Sequence[AccuracyRecord]], metric: str) -> Comparison:
    pairs = {(a, b): difference(rows[a], rows[b], metric) for a, b in combinations(range(len(rows)), 2)}
    compared = {pair: found for pair, found in pairs.items() if found is not None and found.pairs >= MIN_PAIRS}
    if not compared:
        return Comparison(None, frozenset(), frozenset())
    candidates = {row for pair in compared for row in pair}
    wins = dict.fromkeys(candidates, 0)
    for (a, b), found in compared.items():
        wins[a] += int(np.sign(found.mean))
        wins[b] -= int(np.sign(found.mean))
    values = {row: [getattr(record, metric) for record in rows[row]] for row in candidates}
    means = {row: np.mean([value for value in of_row if value is not None]) for row, of_row in values.items()}
    best = max(candidates, key=lambda row: (wins[row], means[row]))
    equal = {best}
    for (a, b), found in compared.items():
        assert found.low is not None
        assert found.high is not None
        if (a == best and found.low <= 0) or (b == best and found.high >= 0):
            equal |= {a, b}
    beside_best = {row for pair in compared if best in pair for row in pair}
    present = {row for row, records in enumerate(rows) if any(getattr(record, metric) is not None for record in records)}
    return Comparison(best, frozenset(equal), frozenset(present - beside_best))
