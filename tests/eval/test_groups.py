import numpy as np
import pytest

from data.lists.longtail import by_number, by_thirds
from eval.groups import break_down, class_accuracies


@pytest.mark.parametrize("case", ["c10", "c100"])
def test_breakdown_equals_the_reference(golden, case):
    counts, accuracy = golden[f"groups_{case}_counts"], golden[f"groups_{case}_acc"]
    breakdown = break_down(accuracy, counts)
    assert np.allclose([breakdown.many, breakdown.medium, breakdown.few], golden[f"groups_{case}_many_med_few"], atol=1e-9)
    assert np.isclose(breakdown.group_std, golden[f"groups_{case}_std"], atol=1e-9)
    assert np.isclose(breakdown.class_std, golden[f"groups_{case}_class_std"], atol=1e-9)
    assert breakdown.group_sizes == {"c10": [4, 3, 3], "c100": [34, 33, 33]}[case]


def test_groups_go_by_training_images_not_by_class_number():
    many, medium, few = by_thirds([5, 400, 30, 7, 900, 60])
    assert (set(many), set(medium), set(few)) == ({1, 4}, {2, 5}, {0, 3})


def test_groups_by_number_are_liu_et_als():
    counts, accuracy = [101, 100, 20, 19, 1280], [10, 20, 40, 50, 30]
    assert [group.tolist() for group in by_number(counts)] == [[0, 4], [1, 2], [3]]
    breakdown = break_down(accuracy, counts, "number")
    assert (breakdown.many, breakdown.medium, breakdown.few, breakdown.group_sizes) == (20, 30, 50, [2, 2, 1])
    with pytest.raises(ValueError, match=r"a group of classes with more than 100, .* is empty"):
        break_down(accuracy[:3], counts[:3], "number")


def test_std_is_the_population_deviation_of_the_three_groups():
    assert round(break_down([78.18, 76.23, 71.37], [3, 2, 1]).group_std, 2) == 2.86


def test_class_accuracies_are_per_class_and_need_every_class():
    labels = np.array([0, 0, 0, 0, 1, 2])
    assert class_accuracies(np.array([0, 0, 0, 1, 1, 0]), labels, 3) == [75, 100, 0]
    with pytest.raises(ValueError, match="do not cover"):
        class_accuracies(labels, labels, 4)
    with pytest.raises(ValueError, match="do not cover"):
        class_accuracies(labels, labels, 2)
