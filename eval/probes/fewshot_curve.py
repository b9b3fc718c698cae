"""Few-shot curve: accuracy of ridge regression by number of labelled images per class, on draws of this suite."""

from typing import Any

import numpy as np

from eval.features import FrozenFeatures
from eval.groups import class_accuracies
from eval.probes.base import Probe, ProbeResult, register
from eval.probes.ridge import choose
from eval.probes.shots import DRAWS, draw_shots


@register("fewshot-curve")
class FewShotCurve(Probe):
    """Evaluates 1, 2, 5, 10, 20, 50, ... images per class, up to the size of the smallest class of the full-shot list.

    Each point has `shots`, `mean` and `sd` (ddof 1) over the draws of the mean class accuracy in per cent, and
    `class_accuracy`, (C,), averaged over the draws. Test predictions are those of the last point, validation predictions those
    of its first draw.
    """

    protocol = (
        "ridge regression onto one-hot classes on 1, 2, 5, 10, ... images a class as far as every class has them, five draws "
        "of this suite each, on standardised cached features of unaugmented images: strength from 1e-6 to 100 a training "
        "image, best on validation top-1 in each draw; accuracies are those of the most images"
    )
    needs = ("train", "val")

    def run(self, frozen: FrozenFeatures, seed: int) -> ProbeResult:
        lists, labels, classes = frozen.lists, frozen.images.train_labels, frozen.classes
        test_labels, validation = frozen.test.labels.numpy(), frozen.unaugmented(lists.val)
        curve: list[dict[str, Any]] = []
        for shots in shot_numbers(int(np.unique(labels[lists.train], return_counts=True)[1].min())):
            drawn = [draw_shots(lists.train, labels, shots, seed, draw) for draw in range(1, DRAWS + 1)]
            choices = [choose(frozen.unaugmented(indices), validation, classes) for indices in drawn]
            predicted = np.concatenate([choice.fit.predict(frozen.test) for choice in choices])
            accuracy = np.array([class_accuracies(one, test_labels, classes) for one in predicted])
            means = accuracy.mean(axis=1)
            point = {"shots": shots, "mean": float(means.mean()), "sd": float(means.std(ddof=1))}
            curve.append({**point, "class_accuracy": accuracy.mean(axis=0).tolist()})
        chosen = f"{shots} images a class, strength {' '.join(f'{choice.strength:g}' for choice in choices)} in five draws"
        first = choices[0]
        return ProbeResult(predicted, len(drawn[0]), chosen, first.val_predicted, first.val_accuracy, curve)


def shot_numbers(most: int) -> list[int]:
    """Returns 1, 2, 5, 10, 20, 50, ... up to `most`, which is at least 1."""
    return [digit * 10**power for power in range(len(str(most))) for digit in (1, 2, 5) if digit * 10**power <= most]
