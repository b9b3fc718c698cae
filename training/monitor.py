"""Monitoring during training: kNN accuracy on validation images.

It draws no random numbers and changes no parameter, statistic or gradient: weights are the same with and without it.
"""

import numpy as np
import torch

from data.lists.longtail import Indices
from data.split import Split
from eval.features import Rows
from eval.probes.knn import classify
from training.prepare import Training

BANK, QUERIES = 10_000, 2000  # images at most: monitoring has to be cheap, not exact
EVALUATIONS = 20  # over a whole run
LISTS = ("train", "val")  # index lists that it needs


class KnnMonitor:
    """kNN accuracy of some validation images, by neighbours among labelled training images, every few epochs."""

    def __init__(self, split: Split, every: int | None = None):
        """`every` is in epochs; None is a twentieth of the run."""
        self.images, self.classes, self.every = split.images, split.classes, every
        self.bank, self.queries = _some(split.lists.train, BANK), _some(split.lists.val, QUERIES)
        self.last = ""  # last result, for the progress bar

    def __call__(self, training: Training, epoch: int) -> dict[str, float]:
        """The accuracy in per cent as `knn`; empty in an epoch (from 1) without evaluation."""
        every = self.every or max(1, training.epochs // EVALUATIONS)
        if epoch % every and epoch != training.epochs:
            return {}
        bank, queries = self._rows(training, self.bank), self._rows(training, self.queries)
        predicted = classify(queries, bank, self.classes, training.device)
        accuracy = 100 * (predicted == queries.labels).double().mean().item()
        self.last = f"kNN {accuracy:.1f} % (epoch {epoch})"
        return {"knn": round(accuracy, 2)}

    @torch.no_grad()
    def _rows(self, training: Training, indices: Indices) -> Rows:
        backbone = training.method.backbone
        mode = backbone.training
        backbone.eval()  # batch norms neither use nor keep the statistics of these images
        features = torch.cat([rows.cpu() for rows in training.corpus.embed(backbone, self.images.train[indices])])
        backbone.train(mode)
        return Rows(features, torch.arange(len(indices)), torch.from_numpy(self.images.train_labels[indices]))


def _some(indices: Indices, most: int) -> Indices:
    """At most so many of a list, evenly spread over it: lists go class by class."""
    return indices[np.unique(np.linspace(0, len(indices) - 1, min(most, len(indices))).astype(np.int64))]
