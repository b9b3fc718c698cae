"""Few-shot curves against their components."""

import dataclasses

import numpy as np
import pytest

from eval.groups import class_accuracies
from eval.probes import PROBES
from eval.probes.fewshot_curve import shot_numbers
from eval.probes.ridge import choose
from eval.probes.shots import draw_shots
from tests.eval.synthetic_features import gaussian_classes


def test_shot_numbers_end_at_the_smallest_class():
    assert shot_numbers(1) == [1]
    assert shot_numbers(9) == [1, 2, 5]
    assert shot_numbers(10) == [1, 2, 5, 10]
    assert shot_numbers(4500) == [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000]


def test_points_are_means_over_five_draws_and_classes():
    made = gaussian_classes(noise=1.5)
    frozen = made.frozen()
    result = PROBES["fewshot-curve"]().run(frozen, seed=4)
    assert [point["shots"] for point in result.curve] == [1, 2, 5, 10, 20, 50]
    validation = frozen.unaugmented(made.lists.val)
    for point in result.curve:
        by_draw, predicted, strengths = [], [], []
        for draw in range(1, 6):
            drawn = draw_shots(made.lists.train, made.labels, point["shots"], 4, draw)
            choice = choose(frozen.unaugmented(drawn), validation, 3)
            strengths.append(f"{choice.strength:g}")
            predicted.append(choice.fit.predict(frozen.test)[0])
            by_draw.append(class_accuracies(predicted[-1], made.test_labels, 3))
        means = [sum(accuracy) / 3 for accuracy in by_draw]
        assert point["mean"] == pytest.approx(np.mean(means))
        assert point["sd"] == pytest.approx(np.std(means, ddof=1))
        assert point["class_accuracy"] == pytest.approx(np.mean(by_draw, axis=0).tolist())
    assert np.array_equal(result.predicted, predicted)
    assert result.n_train == 150
    assert result.chosen == f"50 images a class, strength {' '.join(strengths)} in five draws"
    assert result.curve[-1]["mean"] > result.curve[0]["mean"] + 5


def test_validation_predictions_are_of_the_first_draw():
    made = gaussian_classes(noise=1.5)
    frozen = made.frozen()
    result = PROBES["fewshot-curve"]().run(frozen, seed=0)
    drawn = draw_shots(made.lists.train, made.labels, 50, 0, 1)
    first = choose(frozen.unaugmented(drawn), frozen.unaugmented(made.lists.val), 3)
    assert np.array_equal(result.val_predicted, first.val_predicted)
    assert result.val_accuracy == first.val_accuracy


def test_the_smallest_class_limits_the_curve_and_an_empty_one_does_not():
    made = gaussian_classes()
    train = made.lists.train
    rare = train[(made.labels[train] == 2) | (np.arange(210) < 18)]
    rare = rare[made.labels[rare] != 1]  # six of class 0, none of class 1, seventy of class 2
    result = PROBES["fewshot-curve"]().run(
        dataclasses.replace(made, lists=dataclasses.replace(made.lists, train=rare)).frozen(), 0
    )
    assert [point["shots"] for point in result.curve] == [1, 2, 5]
    assert [point["class_accuracy"][1] for point in result.curve] == [0, 0, 0]
