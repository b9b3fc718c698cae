"""Loss functions shared by methods. They compute in float32 also under autocast and do not overflow at low temperatures."""

import torch
from torch import Tensor
from torch.nn import functional as F


def nt_xent(z1: Tensor, z2: Tensor, tau: float | Tensor) -> Tensor:
    """Normalised temperature-scaled cross entropy (NT-Xent) of two views, per image.

    Each of the 2B embeddings is an anchor. Its positive is the other view of its image; the denominator sums over all 2B - 1
    other embeddings, the positive included. Chen et al. 2020, eq. 1; same values as VITA-Group/SDCLR, `utils.py`.

    Args:
        z1: (B, d) embeddings of the first views, not normalised.
        z2: (B, d) of the second views, in the same order.
        tau: temperature, above 0: one number, or (B,) one per image, used for both its anchors.

    Returns:
        (B,) losses, each the mean over both anchors of an image; their mean is the loss of the batch.
    """
    _, log_p = log_probabilities(z1, z2, tau)
    return nt_xent_of(log_p)


def nt_xent_of(log_p: Tensor) -> Tensor:
    """(B,) NT-Xent losses from the (2B, 2B) log probabilities that `log_probabilities` returns."""
    return -per_image(positives(log_p))


def positives(pairwise: Tensor) -> Tensor:
    """(2B,) entries of each view and the other view of its image, from (2B, 2B) values of all views with all views."""
    anchor = torch.arange(len(pairwise), device=pairwise.device)
    return pairwise[anchor, anchor.roll(len(pairwise) // 2)]


def negatives(similarity: Tensor) -> Tensor:
    """(2B, 2B) similarities of all views, with -inf in place of those within an image."""
    own = torch.eye(len(similarity) // 2, dtype=torch.bool, device=similarity.device).repeat(2, 2)
    return similarity.masked_fill(own, -torch.inf)


def per_image(anchors: Tensor) -> Tensor:
    """(B,) means over both views of each image, from (2B,) values."""
    return anchors.view(2, -1).mean(dim=0)


def complement(log_p: Tensor) -> Tensor:
    """1 - p from log p, without cancellation; at least the resolution of the type, so that its powers have gradients."""
    return (-torch.expm1(log_p)).clamp(min=torch.finfo(log_p.dtype).eps)


def log_probabilities(z1: Tensor, z2: Tensor, tau: float | Tensor) -> tuple[Tensor, Tensor]:
    """Similarities of all 2B views over `tau`, and their log-softmax; arguments as in `nt_xent`.

    Returns:
        (2B, 2B) cosine similarities divided by `tau`, and (2B, 2B) their log-softmax in each row; -inf on both diagonals.
    """
    with torch.autocast(z1.device.type, enabled=False):
        z = F.normalize(torch.cat([z1, z2]).to(at_least_float32(z1)), dim=1)
        rows = tau.repeat(2)[:, None] if isinstance(tau, Tensor) else tau
        similarity = (z @ z.T / rows).fill_diagonal_(-torch.inf)
        return similarity, similarity.log_softmax(dim=1)


def info_nce(query: Tensor, key: Tensor, queue: Tensor, tau: float | Tensor) -> Tensor:
    """InfoNCE of queries with one positive key each and a queue of negatives that all queries share.

    -log( exp(q k / tau) / (exp(q k / tau) + sum_n exp(q n / tau)) ) with q, k, n of unit length: the cross entropy over
    1 + Q classes. He et al. 2020 (MoCo), eq. 1. The symmetric loss of a method is the mean over both directions.

    Args:
        query: (B, d) embeddings, not normalised.
        key: (B, d) positives, of another view of the same images; no gradient flows into them.
        queue: (Q, d) negatives; no gradient flows into them.
        tau: temperature, above 0: one number, or (B,) one for each query.

    Returns:
        (B,) losses.
    """
    with torch.autocast(query.device.type, enabled=False):
        dtype = at_least_float32(query)
        q, k, negatives = (F.normalize(x.to(dtype), dim=1) for x in (query, key.detach(), queue.detach()))
        positive = (q * k).sum(dim=1, keepdim=True)
        rows = tau[:, None] if isinstance(tau, Tensor) else tau
        logits = torch.cat([positive, q @ negatives.T], dim=1) / rows
        return logits.logsumexp(dim=1) - logits[:, 0]


def info_nce_in_batch(query: Tensor, key: Tensor, tau: float) -> Tensor:
    """InfoNCE of queries whose negatives are the keys of the other images of the batch.

    -log( exp(q_i k_i / tau) / sum_j exp(q_i k_j / tau) ) with q, k of unit length. Chen et al. 2021 (MoCo v3), eq. 1.

    Args:
        query: (B, d) embeddings, not normalised.
        key: (B, d) embeddings of another view of the same images, in the same order; gradient flows into both arguments.
        tau: temperature, above 0.

    Returns:
        (B,) losses.
    """
    with torch.autocast(query.device.type, enabled=False):
        q, k = (F.normalize(x.to(at_least_float32(x)), dim=1) for x in (query, key))
        return -(q @ k.T / tau).log_softmax(dim=1).diagonal()


def byol_regression(p: Tensor, z: Tensor) -> Tensor:
    """Squared distance of normalised prediction and target, 2 - 2 cos(p, z). Grill et al. 2020, eq. 2.

    Args:
        p: (B, d) predictions.
        z: (B, d) targets; no gradient flows into them.

    Returns:
        (B,) losses in [0, 4].
    """
    with torch.autocast(p.device.type, enabled=False):
        dtype = at_least_float32(p)
        return 2 - 2 * F.cosine_similarity(p.to(dtype), z.detach().to(dtype), dim=1)


def off_diagonal_squares(matrix: Tensor) -> Tensor:
    """Sum of the squares of the elements off the diagonal of a (d, d) matrix."""
    return (matrix - matrix.diagonal().diag()).square().sum()


def at_least_float32(x: Tensor) -> torch.dtype:
    """Type in which losses are computed: that of `x`, or float32 if it has a lower precision."""
    return torch.promote_types(x.dtype, torch.float32)
