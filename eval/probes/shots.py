"""Few-shot draws of labelled images, for protocols without a published index list."""

import numpy as np

from core.seeds import seed_of
from data.lists.longtail import Indices

DRAWS = 5


def draw_shots(train: Indices, labels: Indices, shots: int, seed: int, draw: int) -> Indices:
    """Draws `shots` images per class without replacement, or all images of a smaller class; ordered by class.

    Draws with different `shots` or `draw` are independent.

    Args:
        train: indices of the labelled images, in any order.
        labels: (N,) of all training images.
        shots: images per class.
        seed: of the probe.
        draw: number of the draw, from 1.
    """
    stream = np.random.default_rng(seed_of(seed, "shots", shots, draw))
    mixed = stream.permutation(np.sort(train))
    by_class = mixed[np.argsort(labels[mixed], kind="stable")]
    classes = labels[by_class]
    return by_class[np.arange(len(by_class)) - np.searchsorted(classes, classes) < shots]
