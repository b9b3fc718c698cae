"""The bootstrap of bold numbers: error rate for equal methods, and power."""

from functools import cache

import numpy as np
import pytest
from msgspec.structs import replace

from reports.tables.significance import COMPARED, RESAMPLES, best_rows, group_shares, interval, sample
from run_store.records import pack, unpack
from tests.reports.made import made_record

PER_CLASS, CLASSES = 100, 10  # of made records


def with_right(record, chance, stream, draws=1):
    """The record with test images correct at random with probabilities `chance`, (M,), and its class accuracies."""
    right = stream.random((draws, len(chance))) < chance
    accuracy = 100 * right.reshape(draws, CLASSES, PER_CLASS).mean(axis=(0, 2))
    means = 100 * right.mean(axis=1)
    return replace(
        record, correct=pack(right), class_accuracy=accuracy.tolist(), mean=float(accuracy.mean()), draw_means=means.tolist()
    )


plain_record = cache(made_record)


def pair(stream, n, *, runs=0.0, images=0.0, gap=0.0):
    """Runs of two methods with equal probabilities up to deviations by run and by image, and a gap."""
    both = []
    for method, better in (("simclr", 0.0), ("byol", gap)):
        own = stream.normal(0, images, CLASSES * PER_CLASS)
        chances = [np.clip(0.6 + better + own + stream.normal(0, runs), 0, 1) for _ in range(n)]
        both.append([with_right(plain_record(method, split=s), chance, stream) for s, chance in enumerate(chances, start=1)])
    return both


@pytest.mark.parametrize("n", [2, 5])
@pytest.mark.parametrize(("noise", "at_least"), [({"runs": 0.04}, 0.01), ({"runs": 0.0}, 0.01), ({"images": 0.2}, 0)])
def test_intervals_of_equal_methods_exclude_0_in_about_5_percent(n, noise, at_least):
    stream = np.random.default_rng(n)
    trials = 200
    outside = 0
    for _ in range(trials):
        first, second = (sample(runs) for runs in pair(stream, n, **noise))
        lower, upper = interval(first, second, 0)
        outside += not lower <= 0 <= upper
    # 5 % of 200, and 3 standard deviations of such a count
    assert at_least * trials <= outside <= 0.05 * trials + 3 * (0.05 * 0.95 * trials) ** 0.5


def test_clear_differences_are_found():
    found = best_rows(pair(np.random.default_rng(1), 5, runs=0.005, gap=0.08))
    for column in COMPARED:
        assert found[column].best == 1
        assert found[column].equal == {1}


def test_pairing_finds_differences_smaller_than_the_std_over_runs():
    """Runs that differ by ten points among themselves, and by two, always the same way, between methods."""
    stream = np.random.default_rng(2)
    levels = [0.4, 0.5, 0.6, 0.7, 0.8]
    chances = [np.full(CLASSES * PER_CLASS, level) for level in levels]
    base = [with_right(made_record("simclr", split=s), chance, stream) for s, chance in enumerate(chances, start=1)]
    # the same images are right, and two a class more
    better = []
    for record in base:
        right = unpack(record.correct, 1, CLASSES * PER_CLASS).reshape(CLASSES, PER_CLASS)
        for row in right:
            row[np.flatnonzero(~row)[:2]] = True
        accuracy = (100 * right.mean(axis=1)).tolist()
        better.append(replace(record, method="byol", correct=pack(right.reshape(1, -1)), class_accuracy=accuracy))
    assert best_rows([base, better])["mean"].equal == {1}
    shuffled = [replace(record, split=s) for record, s in zip(better, (5, 4, 1, 2, 3), strict=True)]
    assert best_rows([base, shuffled])["mean"].equal == {0, 1}


def test_a_method_with_easy_splits_only_is_not_the_best():
    """Splits 1 and 2 are easy; the second method is better on both, but its mean over all five is lower."""
    levels = (80, 80, 60, 60, 60)
    first = [made_record("simclr", split=s, level=level) for s, level in enumerate(levels[:2], start=1)]
    second = [made_record("byol", split=s, level=level + 6) for s, level in enumerate(levels, start=1)]
    assert np.mean([r.mean for r in first]) > np.mean([r.mean for r in second])
    assert best_rows([first, second])["mean"].best == 1


def test_methods_without_two_common_runs_are_not_compared():
    first = [made_record("simclr", split=s, level=70) for s in (1, 2, 3)]
    second = [made_record("byol", split=s, level=60) for s in (3, 4, 5)]
    third = [made_record("ts", split=s, level=40) for s in (1, 2)]
    found = best_rows([first, second, third])["mean"]
    assert (found.best, found.equal, found.uncompared) == (0, {0}, {1})
    assert best_rows([first, second])["mean"].best is None


def test_a_single_run_is_neither_best_nor_compared():
    single = [made_record("simclr", level=90)]
    others = [[made_record(method, split=s, level=50) for s in (1, 2)] for method in ("byol", "ts")]
    found = best_rows([single, *others])["mean"]
    assert found.best in (1, 2)
    assert 0 not in found.equal | found.uncompared
    assert best_rows([single])["mean"].best is None


def test_an_empty_group_has_no_best():
    rows = [[made_record(m, split=s, group_sizes=[8, 2, 0]) for s in (1, 2)] for m in ("simclr", "byol")]
    found = best_rows(rows)
    assert found["few"].best is None
    assert found["mean"].best is not None


def test_columns_are_those_of_the_records():
    record = made_record(split=3)
    (sampled,) = sample([record])
    assert sampled.observed == pytest.approx([record.mean, record.many, record.medium, record.few])
    assert sampled.resampled.shape == (RESAMPLES, 4)
    # what a slow loop over classes would expect: accuracies of resampled images have their binomial deviation
    p = np.array(record.class_accuracy) / 100
    deviation = 100 * np.sqrt((group_shares(record) ** 2 * (p * (1 - p) / PER_CLASS)).sum(axis=1))
    assert sampled.resampled.std(axis=0) == pytest.approx(deviation, rel=0.15)
    assert sampled.resampled.mean(axis=0) == pytest.approx(sampled.observed, abs=0.3)


def test_several_draws_count_by_their_mean():
    record = with_right(made_record(), np.full(1000, 0.5), np.random.default_rng(3), draws=5)
    (sampled,) = sample([record])
    assert sampled.resampled[:, 0].mean() == pytest.approx(record.mean, abs=0.2)
    # the mean of five draws swings less than one draw, whose deviation is 1.6
    assert sampled.resampled[:, 0].std() < 1.0


def test_the_same_records_give_the_same_interval():
    rows = pair(np.random.default_rng(4), 3)
    first, second = (interval(*(sample(runs) for runs in rows), 0) for _ in range(2))
    assert first == second
