"""Which methods of a table are best, and which are not significantly worse: a paired bootstrap over runs and test images.

Two methods are compared on the runs (split, seed) that both have. A resample draws as many of these runs, and within each
class as many of its test images, with replacement; the images are the same for both methods and all runs, as all runs are
tested on the same images. The interval of the difference is the percentile interval of

    d + k (mean difference of resampled runs - d) + f (mean difference on resampled images - d),    d the mean difference.

Resampling a handful of runs understates how far their mean swings: k = sqrt(n / (n - 1)) t / z widens that part to Student's
interval of n runs (Hesterberg, "What teachers should know about the bootstrap", 2015, moves the percentile's level to the same
end). Without it every second pair of runs whose methods are equal would be called different, as both differ in the same way.
What chance on the images adds to each run by itself is in the spread over runs already; f leaves of the images' part the share
of its variance that the runs have in common. Measured on made-up runs of equal methods, 2 to 10 runs, whether runs, images or
neither deviate by themselves: 2 to 7 % of the intervals leave out 0.
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
COMPARED = ("mean", "many", "medium", "few")  # means of classes; nothing is said of the deviations
RULE = (
    "Bold: the best of a column, and what is not significantly worse. The best is above the most others, less those it is "
    "below, each on the runs that both have (at a tie: the largest mean), as methods without all runs may have the easy ones. "
    f"Significantly worse: the {LEVEL:.0%} interval of the difference from the best, over {RESAMPLES} paired resamples (seed "
    f"{SEED}) of common runs, widened to Student's t of their number, and of test images within classes, does not reach 0; "
    "each is compared with the best alone, unadjusted. Std is never bold, nor is a single run (n = 1)."
)


Run = tuple[int, int]  # split and seed


@dataclass(frozen=True)
class Best:
    """What is best in one column."""

    best: int | None  # row; None where there are not two rows to compare
    equal: frozenset[int]  # rows, the best among them, that are not significantly worse
    apart: frozenset[int]  # rows that have no two runs in common with the best, so that nothing is said of them


@dataclass(frozen=True)
class Sampled:
    """Accuracies of one record, as observed and on each resample of the test images, in per cent; nan for an empty group."""

    test_counts: tuple[int, ...]  # test images of each class
    observed: NDArray[np.float64]  # (4,) by COMPARED
    resampled: NDArray[np.float32]  # (RESAMPLES, 4)


def best_rows(rows: Sequence[Sequence[AccuracyRecord]]) -> dict[str, Best]:
    """The best of each column of COMPARED among the rows of a table, a list of runs each.

    Rows of a single run are not looked at. The best is the row that is above the most others, less those it is below, on the
    runs that the two have in common: where no runs are missing, the row of the largest mean, which also decides a tie.
    """
    several = [row for row, records in enumerate(rows) if len({(r.split, r.seed) for r in records}) > 1]
    nothing = Best(None, frozenset(), frozenset())
    if len(several) < 2:
        return dict.fromkeys(COMPARED, nothing)
    records = {(row, r.split, r.seed): r for row in several for r in rows[row]}
    of_row: dict[int, dict[Run, Sampled]] = {row: {} for row in several}
    for (row, *run), sampled in zip(records, sample(list(records.values())), strict=True):
        of_row[row][run[0], run[1]] = sampled
    found = {}
    for place, column in enumerate(COMPARED):
        means = {row: float(np.mean([s.observed[place] for s in runs.values()])) for row, runs in of_row.items()}
        means = {row: mean for row, mean in means.items() if not isnan(mean)}
        found[column] = _best_of(means, of_row, place) if len(means) > 1 else nothing
    return found


def interval(first: Sequence[Sampled], second: Sequence[Sampled], place: int) -> tuple[float, float]:
    """The interval of the mean difference, first minus second, of runs that are paired in order; in points.

    Args:
        first: of one method, two runs or more.
        second: of another, the same runs.
        place: of the column in COMPARED.
    """
    n = len(first)
    observed = np.array([a.observed[place] - b.observed[place] for a, b in zip(first, second, strict=True)])
    runs = observed[_drawn_runs(n)].mean(axis=1) - observed.mean()
    drawn = np.stack([a.resampled[:, place] - b.resampled[:, place] for a, b in zip(first, second, strict=True)], axis=1)
    images = drawn.mean(axis=1) - observed.mean()
    own = (drawn - observed).var(axis=1, ddof=1).mean() / n  # variance that the images add to each run by itself
    shared = sqrt(max(0.0, 1 - own / images.var())) if images.any() else 0.0
    swings = observed.mean() + _widening(n) * runs + shared * images
    lower, upper = np.quantile(swings, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(lower), float(upper)


def sample(records: Sequence[AccuracyRecord]) -> list[Sampled]:
    """Resamples the test images of each record; where a probe drew its labelled images several times, of the draws' mean."""
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
    """What each class counts for in each of COMPARED, (4, C); a row of nan for a group without classes."""
    classes = len(record.group_counts)
    shares = np.full((len(COMPARED), classes), np.nan)
    shares[0] = 1 / classes
    # fewest images first, ties by class number, as the groups are made
    order = np.argsort(record.group_counts, kind="stable")
    _, medium, few = record.group_sizes
    for place, members in enumerate((order[medium + few :], order[few : medium + few], order[:few]), start=1):
        if len(members):
            shares[place] = 0
            shares[place, members] = 1 / len(members)
    return shares


def _best_of(means: dict[int, float], of_row: dict[int, dict[Run, Sampled]], place: int) -> Best:
    rank = dict.fromkeys(means, 0)
    for one, other in combinations(means, 2):
        difference = sum(a.observed[place] - b.observed[place] for a, b in _pairs(of_row[one], of_row[other]))
        rank[one] += int(np.sign(difference))
        rank[other] -= int(np.sign(difference))
    best = max(means, key=lambda row: (rank[row], means[row]))
    equal, apart = {best}, set()
    for row in means.keys() - {best}:
        pairs = _pairs(of_row[row], of_row[best])
        if not pairs:
            apart.add(row)
        elif interval([mine for mine, _ in pairs], [its for _, its in pairs], place)[1] >= 0:
            equal.add(row)
    if len(apart) == len(means) - 1:  # the best is compared with nothing
        return Best(None, frozenset(), frozenset(means))
    return Best(best, frozenset(equal), frozenset(apart))


def _pairs(mine: dict[Run, Sampled], its: dict[Run, Sampled]) -> list[tuple[Sampled, Sampled]]:
    """The runs that two rows have in common; none where there are not two, or of other test images."""
    pairs = [(sampled, its[run]) for run, sampled in mine.items() if run in its]
    return [] if len(pairs) < 2 or any(one.test_counts != other.test_counts for one, other in pairs) else pairs


def _right(record: AccuracyRecord, images: int) -> NDArray[np.float32]:
    """(M,) how often each test image was right, 0 to 1."""
    return unpack(record.correct, len(record.draw_means), images).mean(axis=0, dtype=np.float32)


def _resampled(right: NDArray[np.float32], shares: NDArray[np.float64], counts: tuple[int, ...]) -> NDArray[np.float32]:
    """Accuracies on resampled images, (RESAMPLES, R, 4).

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
    """How often each image is in each resample, (RESAMPLES, M)."""
    stream = np.random.default_rng(SEED)
    parts = []
    for count in counts:
        drawn = stream.integers(count, size=(RESAMPLES, count)) + count * np.arange(RESAMPLES)[:, None]
        parts.append(np.bincount(drawn.ravel(), minlength=RESAMPLES * count).reshape(RESAMPLES, count).astype(np.uint8))
    return np.concatenate(parts, axis=1)


@lru_cache(maxsize=64)
def _widening(n: int) -> float:
    """k of this file's head."""
    return float(sqrt(n / (n - 1)) * t.ppf((1 + LEVEL) / 2, n - 1) / norm.ppf((1 + LEVEL) / 2))


@lru_cache(maxsize=64)
def _drawn_runs(n: int) -> NDArray[np.int64]:
    """Which of n runs are in each resample, (RESAMPLES, n)."""
    return np.random.default_rng([SEED, n]).integers(n, size=(RESAMPLES, n))
