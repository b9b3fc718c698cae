"""Accuracy against the number of labelled images of each class, by ridge regression on draws of this suite."""

from typing import Any

import numpy as np

from eval.features import Frozen
from eval.groups import class_accuracies
from eval.probes.base import Probe, ProbeResult, register
from eval.probes.ridge import choose
from eval.probes.shots import DRAWS, draw_shots


@register("fewshot-curve")
class FewShotCurve(Probe):
    """A point for 1, 2, 5, 10, 20, 50, ... images of each class, up to what the smallest class of the full-shot list has.

    The predictions are those of the last point, the validation's those of its first draw. A point has `shots`, `mean` and `sd`
    over the draws of the mean over classes (per cent, ddof 1), and `class_accuracy`, (C,), the mean over the draws.
    """

    protocol = (
        "ridge regression onto one-hot classes on 1, 2, 5, 10, ... images a class as far as every class has them, five draws "
        "of this suite each, on standardised cached features of unaugmented images: strength from 1e-6 to 100 a training "
        "image, best on validation top-1 in each draw; accuracies are those of the most images"
    )
    needs = ("train", "val")

    def run(self, frozen: Frozen, seed: int) -> ProbeResult:
        lists, labels, classes = frozen.lists, frozen.images.train_labels, frozen.classes
        test_labels, validation = frozen.test.labels.numpy(), frozen.rows(lists.val)
        curve: list[dict[str, Any]] = []
        for shots in numbers_of_shots(int(np.unique(labels[lists.train], return_counts=True)[1].min())):
            drawn = [draw_shots(lists.train, labels, shots, seed, draw) for draw in range(1, DRAWS + 1)]
            choices = [choose(frozen.rows(indices), validation, classes) for indices in drawn]
            predicted = np.concatenate([choice.fit.predict(frozen.test) for choice in choices])
            accuracy = np.array([class_accuracies(one, test_labels, classes) for one in predicted])
            means = accuracy.mean(axis=1)
            point = {"shots": shots, "mean": float(means.mean()), "sd": float(means.std(ddof=1))}
            curve.append({**point, "class_accuracy": accuracy.mean(axis=0).tolist()})
        chosen = f"{shots} images a class, strength {' '.join(f'{choice.strength:g}' for choice in choices)} in five draws"
        first = choices[0]
        return ProbeResult(predicted, len(drawn[0]), chosen, first.val_predicted, first.val_accuracy, curve)


def numbers_of_shots(most: int) -> list[int]:
    """1, 2, 5, 10, 20, 50, ... up to `most`, which is at least 1."""
    return [digit * 10**power for power in range(len(str(most))) for digit in (1, 2, 5) if digit * 10**power <= most]
