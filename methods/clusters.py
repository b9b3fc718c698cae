"""Clusters and densities of the features of all images. Used by COLT, GH, MAK, rwSAM, SwAV and TASE."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits
from torch import Tensor
from torch.nn import functional as F

from parallel import processes

RESTARTS = 10  # k-means initialisations
ALL_RESTARTS = 2_000_000  # images times clusters up to which every initialisation uses all images
REFINEMENTS = 10  # iterations of Lloyd's algorithm on all images, from the centroids of a subset
UNASSIGNED = -1  # cluster of images before the first clustering
NEIGHBOURS = 20  # of the density estimate
REFERENCES = 16_384  # images among which neighbours are searched, at most: time is linear in the number of images
DEC_STEPS = 100  # gradient steps on the centroids
ENTRIES = 2**24  # of a matrix computed at a time, to bound memory

Membership = Callable[[Tensor], Tensor]  # from (n, d) unit vectors to (n, K) memberships in K clusters; rows sum to 1


@dataclass(frozen=True)
class Assignment:
    """Hard or soft assignment of N images to K clusters, whose memory is linear in N also for thousands of clusters."""

    labels: Tensor | None  # (N,) cluster of each image, of the largest membership; None: each image has a size of its own
    sizes: Tensor  # (K,) sizes above 0, or (N,) one per image
    clusters: int  # K
    samples: int  # N
    soft: tuple[Tensor, Membership] | None = None  # (N, d) unit vectors and their membership function; None: hard

    def mean(self, values: Tensor) -> Tensor:
        """(N,) mean of (K,) values of clusters, weighted by each image's memberships; (N,) values per image are returned."""
        if self.soft is not None:
            x, membership = self.soft
            return torch.cat([membership(rows) @ values for rows in blocks(x, self.clusters)])
        return values if self.labels is None else values[self.labels]


def hard_assignment(labels: Tensor, clusters: int) -> Assignment:
    """Assigns (N,) images to their labels. Sizes have 1 added, so that none is 0."""
    sizes = labels.bincount(minlength=clusters).float() + 1
    return Assignment(labels, sizes, clusters, len(labels))


def soft_assignment(x: Tensor, clusters: int, membership: Membership) -> Assignment:
    """Assigns (N, d) unit vectors by a membership function. Sizes count images at their largest membership, with 1 added."""
    labels = torch.cat([membership(rows).argmax(dim=1) for rows in blocks(x, clusters)])
    hard = hard_assignment(labels, clusters)
    return replace(hard, sizes=hard.sizes.to(x), soft=(x, membership))


def spherical_kmeans(x: Tensor, clusters: int, restarts: int) -> tuple[Tensor, Tensor]:
    """k-means on unit vectors by scikit-learn, with a fixed seed.

    Beyond `ALL_RESTARTS` images times clusters, the initialisations are compared on a random subset of that size, and the best
    centroids are refined on all images: the time is linear in N with a small factor.

    Args:
        x: (N, d) unit vectors.
        clusters: K, at most N.
        restarts: initialisations; the solution with the lowest inertia is returned.

    Returns:
        (N,) int64 labels and (K, d) centroids normalised to unit length, on the device of `x`.
    """
    # with several threads the order of summation varies, and a resumed run must reproduce the centroids bit by bit
    with threadpool_limits(limits=1, user_api="openmp"):
        found = processes.from_main(lambda: _kmeans(x.cpu().numpy(), clusters, restarts))
    labels = torch.from_numpy(found.labels_.astype(np.int64)).to(x.device)
    return labels, F.normalize(torch.from_numpy(found.cluster_centers_).to(x), dim=1)


def _kmeans(x: NDArray[np.float32], clusters: int, restarts: int) -> KMeans:
    subset = max(clusters, ALL_RESTARTS // clusters)
    if len(x) <= subset:
        return KMeans(clusters, n_init=restarts, random_state=0).fit(x)
    first = KMeans(clusters, n_init=restarts, random_state=0).fit(x[_random_subset(len(x), subset)])
    return KMeans(clusters, init=first.cluster_centers_, n_init=1, max_iter=REFINEMENTS).fit(x)


def softmax_membership(centers: Tensor, softness: float) -> Membership:
    """Softmax of the cosine similarities with (K, d) centroids over the temperature `softness`."""
    return lambda x: (x @ centers.T / softness).softmax(dim=1)


def student_t_membership(x: Tensor, centers: Tensor) -> Membership:
    """Memberships by deep embedded clustering (DEC) of fixed features.

    Adam minimises KL(p || q) over the centroids, with q_ik proportional to (1 + |x_i - c_k|^2 / d)^(-(d + 1) / 2) and targets
    p_ik proportional to q_ik^2 / sum_i q_ik. arXiv:2506.12698 reports better clusters of the tail than with k-means.

    Args:
        x: (N, d) unit vectors.
        centers: (K, d) initial centroids.

    Returns:
        The function q of the optimised centroids.
    """
    centers = centers.clone().requires_grad_()
    optimizer = torch.optim.Adam([centers], lr=0.01)
    d = x.shape[1]

    def log_q(x: Tensor) -> Tensor:
        squared = (x.square().sum(1, keepdim=True) - 2 * x @ centers.T + centers.square().sum(1)).clamp(min=0)
        return F.log_softmax(-(d + 1) / 2 * torch.log1p(squared / d), dim=1)

    for _ in range(DEC_STEPS):
        with torch.no_grad():
            frequency = torch.stack([log_q(rows).exp().sum(dim=0) for rows in blocks(x, len(centers))]).sum(dim=0)
        optimizer.zero_grad()
        for rows in blocks(x, len(centers)):
            with torch.enable_grad():
                current = log_q(rows)
                q = current.detach().exp()
                target = F.normalize(q.square() / frequency, p=1, dim=1)
                loss = F.kl_div(current, target, reduction="sum") / len(x)
            loss.backward()
        optimizer.step()
    centers.requires_grad_(False)
    return lambda x: log_q(x).exp()


def simplex(clusters: int, width: int) -> Tensor:
    """(K, d) simplex equiangular tight frame: unit vectors with pairwise cosine -1 / (K - 1).

    The fixed targets of Geometric Harmonization, arXiv:2310.17622. Raises ValueError if K > d.
    """
    if clusters > width:
        raise ValueError(f"a simplex of {clusters} directions does not fit into {width} dimensions")
    centred = torch.eye(clusters) - 1 / clusters
    return F.normalize(F.pad(centred, (0, width - clusters)), dim=1)


@torch.no_grad()
def sinkhorn(scores: Tensor, prior: Tensor, iterations: int) -> Tensor:
    """Soft assignments of a batch to K clusters whose sizes are in proportion to a prior, by the Sinkhorn-Knopp algorithm.

    The rows and columns of exp(scores) are scaled in turns, so that each row sums to 1 and column k to B prior_k, the columns
    up to convergence. Cuturi 2013, arXiv:1306.0895.

    Args:
        scores: (..., B, K) logarithms of the assignments to be scaled.
        prior: (K,) share of the images in each cluster; they sum to 1. A cluster with share 0 gets nothing.
        iterations: scalings of the columns and then of the rows.

    Returns:
        (..., B, K) of the same type.
    """
    q = scores.exp()
    rows = torch.full_like(q[..., :1], 1 / q.shape[-2])
    for _ in range(iterations):
        columns = prior[:, None] / (q.mT @ rows)
        rows = 1 / (q.shape[-2] * (q @ columns))
    return q.shape[-2] * rows * q * columns.mT


def local_density(x: Tensor) -> Tensor:
    """(N,) mean cosine similarity of each of (N, d) unit vectors with its 20 nearest neighbours.

    Neighbours are searched among all vectors, or among a random subset of `REFERENCES` if there are more.
    """
    chosen = _references(x)
    references, neighbours = x[chosen], min(NEIGHBOURS, len(x) - 1)
    found = []
    for index in torch.arange(len(x), device=x.device).split(max(1, ENTRIES // len(references))):
        similarity = x[index] @ references.T
        similarity.masked_fill_(index[:, None] == chosen, -torch.inf)  # the vector itself
        found.append(similarity.topk(neighbours, dim=1).values.mean(dim=1))
    return torch.cat(found)


def log_kernel_density(x: Tensor, bandwidth: float) -> Tensor:
    """(N,) logarithm of the Gaussian kernel density at each of (N, d) unit vectors, up to a constant.

    log mean_j exp(-|x_i - x_j|^2 / (2 h^2)) with h the root mean square distance of two vectors times `bandwidth`; j runs over
    all vectors or, if there are more than `REFERENCES`, over a random subset of this size. A vector of this subset is left
    out of its own sum, as it has a value of 1 there, which the sums of the other vectors lack.
    """
    chosen = _references(x)
    references = x[chosen]
    squared = 2 * (1 - references.mean(dim=0).square().sum())  # mean of |x_i - x_j|^2
    width = (2 * bandwidth**2 * squared).clamp(min=1e-6)  # of equal vectors: all densities are equal
    found = []
    for index in torch.arange(len(x), device=x.device).split(max(1, ENTRIES // len(references))):
        exponents = 2 * (x[index] @ references.T - 1) / width
        if len(references) < len(x):
            exponents.masked_fill_(index[:, None] == chosen, -torch.inf)
        found.append(exponents.logsumexp(dim=1))
    return torch.cat(found) - math.log(len(references))


def _references(x: Tensor) -> Tensor:
    """Positions of all N vectors, or of a random subset of `REFERENCES` if there are more."""
    if len(x) <= REFERENCES:
        return torch.arange(len(x), device=x.device)
    return torch.from_numpy(_random_subset(len(x), REFERENCES)).to(x.device)


def _random_subset(count: int, size: int) -> NDArray[np.int64]:
    """`size` ascending positions of `count`, without replacement, the same at every call."""
    return np.sort(np.random.default_rng(0).choice(count, size, replace=False))


def blocks(x: Tensor, columns: int) -> tuple[Tensor, ...]:
    """Rows of `x` whose products with `columns` vectors are computed at a time."""
    return x.split(max(1, ENTRIES // columns))
