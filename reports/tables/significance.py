"""Paired comparison of methods on their common runs (split and seed), by Student's t.

Accuracies of groups differ by many points between splits, as the order of the classes does, and so do those of all methods
alike. Differences are therefore taken within runs.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t

from run_store.records import AccuracyRecord

MIN_RUNS = 5  # common runs, below which nothing is bold and no verdict is given
LEVEL = 0.95
COMPARED = ("mean", "many", "medium", "few")  # means over classes; Std is not compared
TEST = f"paired t-test over common runs, {LEVEL:.0%}"
BOLD = f"Bold: best, and not significantly worse ({TEST})."
RULE = (
    "Best: the method with the most wins minus losses against the other methods, each pair by its mean on common runs (ties: "
    f"the larger mean). Significantly worse: the {LEVEL:.0%} interval of the mean difference from the best, by Student's t "
    "over common runs (split, seed), is below 0; no correction for multiple comparisons. Methods with fewer than "
    f"{MIN_RUNS} common runs are not compared. Std is never bold."
)


@dataclass(frozen=True)
class Difference:
    """Mean of the paired differences of two methods over common runs, in percentage points."""

    mean: float
    low: float | None  # limits of the interval of level LEVEL; None for a single run
    high: float | None
    runs: int


@dataclass(frozen=True)
class Comparison:
    """The comparison of one column."""

    best: int | None  # index of a row; None if no two rows can be compared
    equal: frozenset[int]  # the best row and those not significantly worse
    uncompared: frozenset[int]  # rows with fewer than MIN_RUNS runs in common with the best


def paired_differences(first: Iterable[AccuracyRecord], second: Iterable[AccuracyRecord], metric: str) -> NDArray[np.float64]:
    """First minus second method on each of their common runs in which both have a value, in percentage points."""
    others = {(record.split, record.seed): getattr(record, metric) for record in second}
    pairs = [(getattr(record, metric), others.get((record.split, record.seed))) for record in first]
    return np.array([mine - its for mine, its in pairs if mine is not None and its is not None])


def half_interval(differences: NDArray[np.float64], fewest: int = MIN_RUNS) -> float:
    """Half of the interval of the mean of paired differences, by Student's t; NaN for fewer than `fewest`."""
    n = len(differences)
    return float(t.ppf((1 + LEVEL) / 2, n - 1) * differences.std(ddof=1) / sqrt(n)) if n >= fewest else np.nan


def difference(first: Iterable[AccuracyRecord], second: Iterable[AccuracyRecord], metric: str) -> Difference | None:
    """First minus second method on their common runs; None without a common run or a value, as of an empty group."""
    differences = paired_differences(first, second, metric)
    n = len(differences)
    if n < 2:
        return Difference(float(differences[0]), None, None, 1) if n else None
    mean = float(differences.mean())
    half = half_interval(differences, fewest=2)
    return Difference(mean, mean - half, mean + half, n)


def best_rows(rows: Sequence[Sequence[AccuracyRecord]]) -> dict[str, Comparison]:
    """The best rows for each column of COMPARED; a row is a list of records.

    The best row has the most wins minus losses against the others, ties by the larger mean: without missing runs, the row with
    the largest mean.
    """
    return {metric: _best(rows, metric) for metric in COMPARED}


def _best(rows: Sequence[Sequence[AccuracyRecord]], metric: str) -> Comparison:
    pairs = {(a, b): difference(rows[a], rows[b], metric) for a, b in combinations(range(len(rows)), 2)}
    compared = {pair: found for pair, found in pairs.items() if found is not None and found.runs >= MIN_RUNS}
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
