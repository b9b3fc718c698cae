"""Weighted kNN classifier on the labelled training images."""

import torch
from torch import Tensor

from eval.features import BLOCK, FrozenFeatures, LabelledFeatures
from eval.probes.base import Probe, ProbeResult, register
from eval.probes.neighbours import nearest

K, TEMPERATURE = 20, 0.07


@register("knn")
class NearestNeighbours(Probe):
    """Weighted vote of the 20 nearest neighbours by cosine similarity (Wu et al., CVPR 2018)."""

    protocol = (
        "kNN, cosine, k = 20, votes weighted by exp(s / 0.07) (Wu et al. 2018), among the full-shot images, on cached features "
        "of unaugmented images"
    )
    needs = ("train",)
    default = True

    def run(self, frozen: FrozenFeatures, seed: int) -> ProbeResult:
        bank = frozen.unaugmented(frozen.lists.train)
        return ProbeResult(classify(frozen.test, bank, frozen.classes, frozen.device).numpy()[None], len(bank), "nothing")


def classify(queries: LabelledFeatures, bank: LabelledFeatures, classes: int, device: torch.device) -> Tensor:
    """Classifies each query by the weighted vote of its nearest neighbours, (M,) int64.

    Args:
        queries: M features; their labels are not used.
        bank: labelled features.
        classes: number of classes.
        device: device on which similarities are computed.
    """
    similarity, neighbours = nearest(queries, bank, K, device)
    weights = ((similarity - 1) / TEMPERATURE).exp()  # scaled by exp(-1 / t) to avoid large values
    predicted = []
    for weight, label in zip(weights.split(BLOCK), bank.labels[neighbours].split(BLOCK), strict=True):
        votes = torch.zeros(len(weight), classes).scatter_add_(1, label, weight)
        predicted.append(votes.argmax(dim=1))
    return torch.cat(predicted)
