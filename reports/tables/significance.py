"""The best methods of a table and those not significantly worse: a paired bootstrap over runs and test images.

Two methods are compared on their common runs (split, seed). A resample draws runs, and within each class test images, with
replacement; the images are the same for both methods and all runs. The interval is the percentile interval of

    d + k (mean difference of resampled runs - d) + f (mean difference on resampled images - d),    d the mean difference.

Resampling few runs underestimates the variance of their mean: k = sqrt(n / (n - 1)) t / z widens that part to Student's
interval of n runs (Hesterberg, "What teachers should know about the bootstrap", 2015, changes the percentile's level to the
same effect). The variance over runs already contains the image noise that is independent between runs; f keeps the share of
the images' part that the runs have in common. On simulated runs of equal methods (2 to 10 runs; variance between runs, between
images, or none), 2 to 7 % of the intervals exclude 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from math import isnan, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, t

from run_store.records import AccuracyRecord, unpack

RESAMPLES = 1000
SEED = 0
LEVEL = 0.95
COMPARED = ("mean", "many", "medium", "few")  # means over classes; Std is not compared
BOLD = f"Bold: best, and not significantly worse (paired bootstrap, {LEVEL:.0%})."
RULE = (
    "Best: the method with the most wins minus losses against the other methods, each pair by its mean on common runs (ties: "
    f"the larger mean). Significantly worse: the {LEVEL:.0%} interval of the difference from the best is below 0, over "
    f"{RESAMPLES} paired resamples (seed {SEED}) of common runs, widened to Student's t, and of test images within classes; no "
    "correction for multiple comparisons. Std and single runs (n = 1) are never bold."
)

Run = tuple[int, int]  # split and seed


@dataclass(frozen=True)
class Comparison:
    """The comparison of one column."""

    best: int | None  # index of a row; None if fewer than two rows can be compared
    equal: frozenset[int]  # the best row and those not significantly worse
    uncompared: frozenset[int]  # rows with fewer than two runs in common with the best


@dataclass(frozen=True)
class Sampled:
    """Accuracies of one record in per cent, observed and on each resample of the test images; NaN for an empty group."""

    test_counts: tuple[int, ...]  # test images of each class
    observed: NDArray[np.float64]  # (4,) by COMPARED
    resampled: NDArray[np.float32]  # (RESAMPLES, 4)


def best_rows(rows: Sequence[Sequence[AccuracyRecord]]) -> dict[str, Comparison]:
    """The best rows for each column of COMPARED; a row is a list of records.

    Rows with a single run are left out. The best row has the most wins minus losses against the others, each pair on its common
    runs, ties by the larger mean: without missing runs, the row with the largest mean.
    """
    several = [row for row, records in enumerate(rows) if len({(r.split, r.seed) for r in records}) > 1]
    not_compared = Comparison(None, frozenset(), frozenset())
    if len(several) < 2:
        return dict.fromkeys(COMPARED, not_compared)
    records = {(row, r.split, r.seed): r for row in several for r in rows[row]}
    samples_of: dict[int, dict[Run, Sampled]] = {row: {} for row in several}
    for (row, *run), sampled in zip(records, sample(list(records.values())), strict=True):
        samples_of[row][run[0], run[1]] = sampled
    found = {}
    for place, column in enumerate(COMPARED):
        means = {row: float(np.mean([s.observed[place] for s in runs.values()])) for row, runs in samples_of.items()}
        means = {row: mean for row, mean in means.items() if not isnan(mean)}
        found[column] = _best_of(means, samples_of, place) if len(means) > 1 else not_compared
    return found


def interval(first: Sequence[Sampled], second: Sequence[Sampled], place: int) -> tuple[float, float]:
    """Interval of the mean difference, first minus second, in percentage points.

    Args:
        first: two runs or more of one method.
        second: the same runs of another method, in the same order.
        place: index of the column in COMPARED.
    """
    n = len(first)
    observed = np.array([a.observed[place] - b.observed[place] for a, b in zip(first, second, strict=True)])
    runs = observed[_drawn_runs(n)].mean(axis=1) - observed.mean()
    drawn = np.stack([a.resampled[:, place] - b.resampled[:, place] for a, b in zip(first, second, strict=True)], axis=1)
    images = drawn.mean(axis=1) - observed.mean()
    own = (drawn - observed).var(axis=1, ddof=1).mean() / n  # image variance that is independent between runs
    shared = sqrt(max(0.0, 1 - own / images.var())) if images.any() else 0.0
    swings = observed.mean() + _widening(n) * runs + shared * images
    lower, upper = np.quantile(swings, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(lower), float(upper)


def sample(records: Sequence[AccuracyRecord]) -> list[Sampled]:
    """Resamples the test images of each record; with several draws of labelled images, of the mean over draws."""
    found: dict[int, Sampled] = {}
    for counts in {tuple(record.test_counts) for record in records}:
        places = [place for place, record in enumerate(records) if tuple(record.test_counts) == counts]
        members = [records[place] for place in places]
        right = np.stack([_right(record, sum(counts)) for record in members])
        shares = np.stack([group_shares(record) for record in members])
        resampled = _resampled(right, shares, counts)
        observed = np.einsum("rgc,rc->rg", shares, np.stack([record.class_accuracy for record in members]))
        found |= {
            place: Sampled(counts, *both) for place, *both in zip(places, observed, resampled.swapaxes(0, 1), strict=True)
        }
    return [found[place] for place in range(len(records))]


def group_shares(record: AccuracyRecord) -> NDArray[np.float64]:
    """(4, C) weight of each class in each of COMPARED; a row of NaN for a group without classes."""
    classes = len(record.group_counts)
    shares = np.full((len(COMPARED), classes), np.nan)
    shares[0] = 1 / classes
    # fewest images first, ties by class number, as in the definition of the groups
    order = np.argsort(record.group_counts, kind="stable")
    _, medium, few = record.group_sizes
    for place, members in enumerate((order[medium + few :], order[few : medium + few], order[:few]), start=1):
        if len(members):
            shares[place] = 0
            shares[place, members] = 1 / len(members)
    return shares


def _best_of(means: dict[int, float], samples_of: dict[int, dict[Run, Sampled]], place: int) -> Comparison:
    rank = dict.fromkeys(means, 0)
    for one, other in combinations(means, 2):
        difference = sum(a.observed[place] - b.observed[place] for a, b in _pairs(samples_of[one], samples_of[other]))
        rank[one] += int(np.sign(difference))
        rank[other] -= int(np.sign(difference))
    best = max(means, key=lambda row: (rank[row], means[row]))
    equal, uncompared = {best}, set()
    for row in means.keys() - {best}:
        pairs = _pairs(samples_of[row], samples_of[best])
        if not pairs:
            uncompared.add(row)
        elif interval([mine for mine, _ in pairs], [its for _, its in pairs], place)[1] >= 0:
            equal.add(row)
    if len(uncompared) == len(means) - 1:
        return Comparison(None, frozenset(), frozenset(means))
    return Comparison(best, frozenset(equal), frozenset(uncompared))


def _pairs(mine: dict[Run, Sampled], its: dict[Run, Sampled]) -> list[tuple[Sampled, Sampled]]:
    """Common runs of two rows; empty for fewer than two, and if the test images differ."""
    pairs = [(sampled, its[run]) for run, sampled in mine.items() if run in its]
    return [] if len(pairs) < 2 or any(one.test_counts != other.test_counts for one, other in pairs) else pairs


def _right(record: AccuracyRecord, images: int) -> NDArray[np.float32]:
    """(M,) fraction of draws in which each test image was classified correctly."""
    return unpack(record.correct, len(record.draw_means), images).mean(axis=0, dtype=np.float32)


def _resampled(right: NDArray[np.float32], shares: NDArray[np.float64], counts: tuple[int, ...]) -> NDArray[np.float32]:
    """(RESAMPLES, R, 4) accuracies on resampled images.

    Args:
        right: (R, M), images ordered by class.
        shares: (R, 4, C).
        counts: images of each class.
    """
    weights = _weights(counts)
    total = np.zeros((RESAMPLES, *shares.shape[:2]), dtype=np.float32)
    start = 0
    for c, count in enumerate(counts):
        part = slice(start, start + count)
        accuracy = weights[:, part].astype(np.float32) @ right[:, part].T * np.float32(100 / count)
        total += accuracy[:, :, None] * shares[None, :, :, c].astype(np.float32)
        start += count
    return total


@lru_cache(maxsize=2)
def _weights(counts: tuple[int, ...]) -> NDArray[np.uint8]:
    """(RESAMPLES, M) number of times each image is in each resample."""
    stream = np.random.default_rng(SEED)
    parts = []
    for count in counts:
        drawn = stream.integers(count, size=(RESAMPLES, count)) + count * np.arange(RESAMPLES)[:, None]
        parts.append(np.bincount(drawn.ravel(), minlength=RESAMPLES * count).reshape(RESAMPLES, count).astype(np.uint8))
    return np.concatenate(parts, axis=1)


@lru_cache(maxsize=64)
def _widening(n: int) -> float:
    """k in the docstring of this module."""
    return float(sqrt(n / (n - 1)) * t.ppf((1 + LEVEL) / 2, n - 1) / norm.ppf((1 + LEVEL) / 2))


@lru_cache(maxsize=64)
def _drawn_runs(n: int) -> NDArray[np.int64]:
    """(RESAMPLES, n) indices of the runs in each resample."""
    return np.random.default_rng([SEED, n]).integers(n, size=(RESAMPLES, n))
