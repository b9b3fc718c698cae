"""kNN monitor: accuracy on validation images during training.

It uses no random numbers and changes no parameter, statistic or gradient, so weights are bit-identical with and without it.
"""

import numpy as np
import torch
from numpy.typing import NDArray

from data.lists.longtail import Indices
from data.prefetch import to_cpu
from data.split import Split
from eval.features import LabelledFeatures
from eval.probes.knn import classify
from training.prepare import Training

BANK, QUERIES = 10_000, 2000  # maximum number of images, to limit the cost
EVALUATIONS = 20  # per run, by default
LISTS = ("train", "val")  # required index lists


class KnnMonitor:
    """Computes the kNN accuracy of a subset of the validation images, with a feature bank of labelled training images."""

    def __init__(self, split: Split, every: int | None = None):
        """Selects the images. `every` is in epochs; None: a twentieth of the run."""
        self.images, self.classes, self.every = split.images, split.classes, every
        self.bank, self.queries = _subset(split.lists.train, BANK), _subset(split.lists.val, QUERIES)
        self.last = ""  # last result, for the progress bar

    def __call__(self, training: Training, epoch: int) -> dict[str, float]:
        """Returns the accuracy in per cent as `knn`; an empty dict in an epoch (from 1) without evaluation."""
        every = self.every or max(1, training.epochs // EVALUATIONS)
        if epoch % every and epoch != training.epochs:
            return {}
        bank, queries = self._features(training, self.bank), self._features(training, self.queries)
        predicted = classify(queries, bank, self.classes, training.device)
        accuracy = 100 * (predicted == queries.labels).double().mean().item()
        self.last = f"kNN {accuracy:.1f} % (epoch {epoch})"
        return {"knn": round(accuracy, 2)}

    @torch.no_grad()
    def _features(self, training: Training, indices: Indices) -> LabelledFeatures:
        backbone = training.method.backbone
        mode = backbone.training
        backbone.eval()  # batch norms use running statistics and do not update them
        features = torch.cat(list(to_cpu(training.corpus.embed(backbone, self.images.train[indices]))))
        backbone.train(mode)
        return LabelledFeatures(features, torch.arange(len(indices)), torch.from_numpy(self.images.train_labels[indices]))


def _subset(indices: Indices, size: int) -> Indices:
    return indices[evenly_spaced(len(indices), size)]


def evenly_spaced(count: int, size: int) -> NDArray[np.int64]:
    """At most `size` evenly spaced positions in a list of `count`: of all classes, as lists are sorted by class."""
    return np.unique(np.linspace(0, count - 1, min(size, count)).astype(np.int64))
