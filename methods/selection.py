"""Selection of images from a pool, for MAK: expected contrastive losses, scores, and greedy k-centre."""

import torch
from torch import Tensor
from torch.nn import functional as F

from methods.clusters import blocks


def expected_contrastive_loss(z: Tensor, tau: float) -> Tensor:
    """Mean NT-Xent of each image over all pairs of its augmentations, with the other images of the batch as negatives.

    The empirical contrastive loss expectation (ECLE) of arXiv:2111.01004. Time and memory grow with A^2 B^2 and A B^2.

    Args:
        z: (A, B, d) embeddings of A augmentations, at least 2, of B images, not normalised.
        tau: temperature.

    Returns:
        (B,) losses, each the mean over both anchors of A (A - 1) / 2 pairs.
    """
    A, B, _ = z.shape
    z = F.normalize(z, dim=2)
    total = z.new_zeros(B)
    for a in range(A):
        similarity = (z[a] @ z.flatten(0, 1).T / tau).view(B, A, B)  # of view a of each image with all views
        positive = similarity.diagonal(dim1=0, dim2=2).T
        similarity[:, a].fill_diagonal_(-torch.inf)  # a view is not its own negative
        sums = similarity.logsumexp(dim=2)
        losses = torch.logaddexp(sums[:, a, None], sums) - positive
        losses[:, a].zero_()
        total += losses.sum(dim=1)
    return total / (A * (A - 1))


def loss_in_batches(z: Tensor, tau: float, size: int, repeats: int) -> Tensor:
    """`expected_contrastive_loss` in random batches, so that an image's negatives are random; linear in their number.

    Args:
        z: (A, M, d) embeddings.
        tau: temperature.
        size: images per batch, at most M are used; the last batch is filled with images of the one before.
        repeats: random divisions into batches, over which losses are averaged; drawn from torch's global generator.

    Returns:
        (M,) losses.
    """
    count = z.shape[1]
    total = z.new_zeros(count)
    for _ in range(repeats):
        order = torch.randperm(count).to(z.device)
        for start in range(0, count, size):
            first = max(0, min(start, count - size))
            batch, new = order[first : start + size], start - first
            total[batch[new:]] += expected_contrastive_loss(z[:, batch], tau)[new:]
    return total / repeats


def scores(losses: Tensor, distances: Tensor, loss_weight: float) -> Tensor:
    """(M,) scores from (M,) losses and distances, both standardised; a distance has the weight -(1 - loss_weight)."""
    loss, distance = ((x - x.mean()) / x.std(correction=0).clamp(min=1e-12) for x in (losses, distances))
    return loss_weight * loss - (1 - loss_weight) * distance


def greedy_k_center(candidates: Tensor, centers: Tensor, count: int) -> Tensor:
    """Selects candidates one after the other, each the farthest from its nearest centre or selected candidate.

    Sener and Savarese, ICLR 2018, arXiv:1708.00489, with cosine similarities. Each candidate is compared once with each centre
    and each selected candidate.

    Args:
        candidates: (C, d) unit vectors.
        centers: (N, d) unit vectors.
        count: K, at most C.

    Returns:
        (K,) unique positions of candidates, in the order of selection.
    """
    nearest = torch.cat([(rows @ centers.T).amax(dim=1) for rows in blocks(candidates, len(centers))])
    selected = []
    for _ in range(count):
        farthest = nearest.argmin(dim=0, keepdim=True)
        selected.append(farthest)
        nearest = torch.maximum(nearest, candidates @ candidates[farthest][0]).index_fill(0, farthest, torch.inf)
    return torch.cat(selected)
