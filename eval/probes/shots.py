"""Draws of a few labelled images of each class, where the field has no list of them."""

import numpy as np

from core.seeds import seed_of
from data.lists.longtail import Indices

DRAWS = 5


def draw_shots(train: Indices, labels: Indices, shots: int, seed: int, draw: int) -> Indices:
    """Images drawn without replacement, class after class; a class that has fewer than `shots` gives all it has.

    The draws of other numbers of images, and of the same seed's other numbers, are unrelated.

    Args:
        train: labelled images; their order changes nothing.
        labels: (N,) of all training images.
        shots: images of each class.
        seed: of the probe.
        draw: number of the draw, from 1.
    """
    stream = np.random.default_rng(seed_of(seed, "shots", shots, draw))
    mixed = stream.permutation(np.sort(train))
    by_class = mixed[np.argsort(labels[mixed], kind="stable")]
    classes = labels[by_class]
    return by_class[np.arange(len(by_class)) - np.searchsorted(classes, classes) < shots]
