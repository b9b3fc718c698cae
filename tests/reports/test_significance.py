"""Paired comparisons: intervals against SciPy, error rate for equal methods, and the best rows."""

import numpy as np
import pytest
from msgspec.structs import replace
from scipy.stats import ttest_rel

from reports.tables.significance import COMPARED, MIN_PAIRS, best_rows, difference
from tests.reports.made import made_record


def runs(method, values, *, first=1):
    """Records of one method on splits from `first` on, with the given values of every compared metric."""
    return [
        replace(made_record(method, split=split), **dict.fromkeys(COMPARED, float(value)))
        for split, value in enumerate(values, start=first)
    ]


def test_the_interval_is_that_of_the_paired_t_test():
    stream = np.random.default_rng(0)
    a, b = stream.normal(50, 5, 7), stream.normal(51, 5, 7)
    found = difference(runs("byol", a), runs("simclr", b), "few")
    expected = ttest_rel(a, b)
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval(0.95)))
    assert (found.mean, found.pairs) == (pytest.approx((a - b).mean()), 7)
    assert (found.low <= 0 <= found.high) == (expected.pvalue >= 0.05)


def test_only_common_runs_count():
    found = difference(runs("byol", [1, 2, 3], first=2), runs("simclr", [0, 0, 0, 7]), "mean")
    assert (found.pairs, found.mean) == (3, pytest.approx((1 + 2 + (3 - 7)) / 3))
    assert difference(runs("byol", [1]), runs("simclr", [1], first=2), "mean") is None
    one = difference(runs("byol", [3]), runs("simclr", [1]), "mean")
    assert (one.mean, one.low, one.high, one.pairs) == (2, None, None, 1)


def test_equal_differences_have_an_interval_of_width_0():
    found = difference(runs("byol", [3, 4, 5]), runs("simclr", [1, 2, 3]), "mean")
    assert (found.low, found.high) == (2, 2)


@pytest.mark.parametrize("n", [5, 15])
def test_intervals_of_equal_methods_exclude_0_in_about_5_percent(n):
    stream = np.random.default_rng(n)
    trials, outside = 400, 0
    for _ in range(trials):
        level = stream.normal(50, 10, n)  # of the splits, common to both methods
        found = difference(*(runs(name, level + stream.normal(0, 1, n)) for name in ("byol", "simclr")), "mean")
        outside += not found.low <= 0 <= found.high
    assert abs(outside - 0.05 * trials) <= 3 * (0.05 * 0.95 * trials) ** 0.5


def with_seeds(method, values):
    """Records of one method; `values`: (splits, seeds), from split 1 and seed 0 on."""
    return [replace(record, seed=seed) for seed, of_seed in enumerate(np.transpose(values)) for record in runs(method, of_seed)]


def test_seeds_of_a_split_are_averaged():
    stream = np.random.default_rng(1)
    a, b = stream.normal(50, 5, (5, 3)), stream.normal(51, 5, (5, 3))
    found = difference(with_seeds("byol", a), with_seeds("simclr", b), "few")
    expected = ttest_rel(a.mean(axis=1), b.mean(axis=1))
    assert (found.mean, found.pairs) == (pytest.approx((a - b).mean()), 5)
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval(0.95)))


def test_seeds_are_paired_before_they_are_averaged():
    """A method with one seed is compared with that seed of a method with three."""
    values = np.arange(15.0).reshape(5, 3)
    found = difference(with_seeds("byol", values[:, :1] + 2), with_seeds("simclr", values), "few")
    assert (found.mean, found.low, found.high, found.pairs) == (2, 2, 2, 5)


def test_each_split_has_the_same_weight():
    first = [*with_seeds("byol", np.full((1, 3), 4.0)), *runs("byol", [1.0], first=2)]
    second = [*with_seeds("simclr", np.zeros((1, 3))), *runs("simclr", [0.0], first=2)]
    found = difference(first, second, "mean")
    assert (found.mean, found.pairs) == (2.5, 2)


def test_with_one_split_the_seeds_are_compared():
    stream = np.random.default_rng(2)
    a, b = stream.normal(50, 5, (1, 6)), stream.normal(51, 5, (1, 6))
    found = difference(with_seeds("byol", a), with_seeds("simclr", b), "mean")
    assert found.pairs == 6
    assert (found.low, found.high) == pytest.approx(tuple(ttest_rel(a[0], b[0]).confidence_interval(0.95)))


def test_intervals_hold_if_methods_differ_by_split():
    """Three seeds of five splits, and differences that vary as much between splits as between seeds."""
    stream = np.random.default_rng(3)
    trials, outside = 400, 0
    for _ in range(trials):
        effect = stream.normal(0, 1, (5, 1)) + stream.normal(0, 1, (5, 3))
        found = difference(with_seeds("byol", 50 + effect), with_seeds("simclr", np.full((5, 3), 50.0)), "mean")
        outside += not found.low <= 0 <= found.high
    assert abs(outside - 0.05 * trials) <= 3 * (0.05 * 0.95 * trials) ** 0.5


def test_pairing_finds_differences_smaller_than_the_std_over_runs():
    levels = np.array([40.0, 50, 60, 70, 80])
    better = levels + np.array([2, 2.1, 1.9, 2, 2.2])
    assert best_rows([runs("simclr", levels), runs("byol", better)])["mean"].equal == {1}
    assert best_rows([runs("simclr", levels), runs("byol", better[[4, 3, 0, 1, 2]])])["mean"].equal == {0, 1}


def test_below_five_common_runs_nothing_is_bold():
    rows = [runs("simclr", [50] * 4), runs("byol", [90] * 4)]
    assert all(found.best is None and not found.equal for found in best_rows(rows).values())
    rows = [runs("simclr", [50] * MIN_PAIRS), runs("byol", [90] * MIN_PAIRS)]
    assert all(found.equal == {1} for found in best_rows(rows).values())


def test_a_method_with_many_runs_and_a_large_spread_is_not_bold_for_its_spread():
    """A lower method whose differences from the best are consistent is not bold, however large its spread."""
    level = np.array([20.0, 30, 40, 50, 60])
    found = best_rows([runs("simclr", level), runs("byol", level - 5)])["few"]
    assert (found.best, found.equal) == (0, {0})


def test_a_method_with_easy_splits_only_is_not_the_best():
    """Splits 1 to 5 are easy; the second method is better on them, but its mean over all ten is lower."""
    first = runs("simclr", [80] * 5)
    second = runs("byol", [86] * 5 + [60] * 5)
    assert np.mean([r.mean for r in first]) > np.mean([r.mean for r in second])
    assert best_rows([first, second])["mean"].best == 1


def test_methods_without_five_runs_in_common_with_the_best_are_not_compared():
    first, second = runs("simclr", [70] * 5), runs("byol", [40] * 5)
    third = runs("ts", [60] * 5, first=4)
    found = best_rows([first, second, third])["mean"]
    assert (found.best, found.equal, found.uncompared) == (0, {0}, {2})


def test_an_empty_group_has_no_best():
    rows = [[replace(record, few=None) for record in runs(method, range(5))] for method in ("simclr", "byol")]
    found = best_rows(rows)
    assert found["few"].best is None
    assert found["few"].uncompared == frozenset()
    assert found["mean"].best is not None


def test_runs_without_a_value_are_left_out():
    """The few group of a split can be empty, where groups are by the number of images."""
    records = runs("simclr", [1, 2, 3, 4, 5, 6])
    records[2] = replace(records[2], few=None)
    better = [replace(record, few=record.few + 1) for record in runs("byol", [1, 2, 3, 4, 5, 6])]
    found = best_rows([records, better])
    assert (found["few"].best, found["mean"].equal) == (1, {0, 1})
