import numpy as np
import pytest

from data.lists.longtail import by_number, by_thirds
from eval.groups import break_down, class_accuracies


@pytest.mark.parametrize("case", ["c10", "c100"])
def test_breakdown_equals_the_reference(golden, case):
    counts, accuracy = golden[f"groups_{case}_counts"], golden[f"groups_{case}_acc"]
    breakdown = break_down(accuracy, counts)
    groups = breakdown.groups["thirds"]
    assert np.allclose([groups.many, groups.medium, groups.few], golden[f"groups_{case}_many_med_few"], atol=1e-9)
    assert np.isclose(groups.group_std, golden[f"groups_{case}_std"], atol=1e-9)
    assert np.isclose(breakdown.class_std, golden[f"groups_{case}_class_std"], atol=1e-9)
    assert groups.group_sizes == {"c10": [4, 3, 3], "c100": [34, 33, 33]}[case]


def test_groups_depend_on_training_images_not_class_indices():
    many, medium, few = by_thirds([5, 400, 30, 7, 900, 60])
    assert (set(many), set(medium), set(few)) == ({1, 4}, {2, 5}, {0, 3})


def test_groups_by_number_are_liu_et_als():
    counts, accuracy = [101, 100, 20, 19, 1280], [10, 20, 40, 50, 30]
    assert [group.tolist() for group in by_number(counts)] == [[0, 4], [1, 2], [3]]
    groups = break_down(accuracy, counts).groups["number"]
    assert (groups.many, groups.medium, groups.few, groups.group_sizes) == (20, 30, 50, [2, 2, 1])
    assert groups.head_tail_gap == -30


def test_a_group_without_classes_is_none_and_never_zero():
    groups = break_down([10, 20, 40], [101, 100, 20]).groups["number"]
    assert (groups.many, groups.medium, groups.few) == (10, 30, None)
    assert (groups.group_std, groups.head_tail_gap, groups.group_sizes) == (None, None, [1, 2, 0])


def test_std_is_the_population_deviation_of_the_three_groups():
    assert round(break_down([78.18, 76.23, 71.37], [3, 2, 1]).groups["thirds"].group_std, 2) == 2.86


def test_worst_class_and_harmonic_mean():
    breakdown = break_down([20, 80, 40], [3, 2, 1])
    assert breakdown.worst == 20
    assert breakdown.harmonic_mean == pytest.approx(3 / (1 / 20 + 1 / 80 + 1 / 40))
    assert break_down([0, 80, 40], [3, 2, 1]).harmonic_mean == 0


def test_statistics_are_averaged_over_draws():
    draws = np.array([[90.0, 60, 30], [30, 60, 90]])
    breakdown, groups = break_down(draws, [3, 2, 1]), break_down(draws, [3, 2, 1]).groups["thirds"]
    assert (breakdown.mean, groups.many, groups.few, groups.head_tail_gap) == (60, 60, 60, 0)
    assert groups.group_std == pytest.approx(np.std([90, 60, 30]))  # that of the averaged accuracies is 0
    assert breakdown.worst == 30


def test_class_accuracies_are_per_class_and_need_every_class():
    labels = np.array([0, 0, 0, 0, 1, 2])
    assert class_accuracies(np.array([0, 0, 0, 1, 1, 0]), labels, 3) == [75, 100, 0]
    with pytest.raises(ValueError, match="do not cover"):
        class_accuracies(labels, labels, 4)
    with pytest.raises(ValueError, match="do not cover"):
        class_accuracies(labels, labels, 2)
