"""Weighted nearest neighbours among the labelled training images: nothing is learned, nothing is chosen."""

import torch
from torch import Tensor

from eval.features import BLOCK, Frozen, Rows
from eval.probes.base import Probe, ProbeResult, register
from eval.probes.neighbours import nearest

K, TEMPERATURE = 20, 0.07


@register("knn")
class NearestNeighbours(Probe):
    """Votes of the twenty most similar images, weighted (Wu et al., CVPR 2018)."""

    protocol = (
        "kNN, cosine, k = 20, votes weighted by exp(s / 0.07) (Wu et al. 2018), among the full-shot images, on cached features "
        "of unaugmented images"
    )
    needs = ("train",)
    default = True

    def run(self, frozen: Frozen, seed: int) -> ProbeResult:
        bank = frozen.rows(frozen.lists.train)
        return ProbeResult(classify(frozen.test, bank, frozen.classes, frozen.device).numpy()[None], len(bank), "nothing")


def classify(queries: Rows, bank: Rows, classes: int, device: torch.device) -> Tensor:
    """The class that most of the weighted votes of each query's nearest rows are for, (M,) int64.

    Args:
        queries: M features; their labels are not looked at.
        bank: features that have labels.
        classes: how many classes there are.
        device: where similarities are computed.
    """
    similarity, place = nearest(queries, bank, K, device)
    weights = ((similarity - 1) / TEMPERATURE).exp()  # all exp(1 / t) times smaller, so none is large
    predicted = []
    for weight, label in zip(weights.split(BLOCK), bank.labels[place].split(BLOCK), strict=True):
        votes = torch.zeros(len(weight), classes).scatter_add_(1, label, weight)
        predicted.append(votes.argmax(dim=1))
    return torch.cat(predicted)
