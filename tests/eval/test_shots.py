"""Draws of labelled images."""

import numpy as np
import pytest

from eval.probes.shots import draw_shots

LABELS = np.array([0, 1, 2] * 40 + [2] * 30)
TRAIN = np.arange(len(LABELS))[LABELS < 3][::-1].copy()


@pytest.mark.parametrize("shots", [1, 5, 40])
def test_every_class_has_the_requested_number_of_distinct_images(shots):
    drawn = draw_shots(TRAIN, LABELS, shots, seed=0, draw=1)
    assert np.bincount(LABELS[drawn]).tolist() == [shots] * 3
    assert len(np.unique(drawn)) == 3 * shots
    assert np.array_equal(LABELS[drawn], np.repeat([0, 1, 2], shots))


def test_a_smaller_class_is_used_completely():
    train = np.concatenate([np.flatnonzero(LABELS == 0)[:3], np.flatnonzero(LABELS == 2)])
    drawn = draw_shots(train, LABELS, 10, seed=0, draw=1)
    assert np.bincount(LABELS[drawn]).tolist() == [3, 0, 10]
    assert set(drawn) <= set(train)


def test_draws_depend_on_seed_shots_and_number_but_not_on_the_order_of_the_list():
    first = draw_shots(TRAIN, LABELS, 5, seed=0, draw=1)
    assert np.array_equal(draw_shots(np.sort(TRAIN), LABELS, 5, seed=0, draw=1), first)
    others = [draw_shots(TRAIN, LABELS, 5, seed=1, draw=1), draw_shots(TRAIN, LABELS, 5, seed=0, draw=2)]
    assert not any(np.array_equal(other, first) for other in others)
    assert not set(first) <= set(draw_shots(TRAIN, LABELS, 10, seed=0, draw=1))


def test_every_image_can_be_drawn():
    drawn = {index for draw in range(200) for index in draw_shots(TRAIN, LABELS, 5, seed=0, draw=draw)}
    assert drawn == set(TRAIN)
