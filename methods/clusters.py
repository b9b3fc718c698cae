"""Clustering of the features of all images, for pseudo-labels. Used by COLT, GH and TASE."""

import numpy as np
import torch
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits
from torch import Tensor
from torch.nn import functional as F

from parallel import processes

RESTARTS = 10  # k-means initialisations
UNASSIGNED = -1  # cluster of images before the first clustering
NEIGHBOURS = 20  # of the density estimate
DEC_STEPS = 100  # gradient steps on the centroids
ROWS = 2048  # of a similarity matrix computed at a time, to bound memory


def spherical_kmeans(x: Tensor, clusters: int, restarts: int) -> tuple[Tensor, Tensor]:
    """k-means on unit vectors by scikit-learn, with a fixed seed.

    Args:
        x: (N, d) unit vectors.
        clusters: K, at most N.
        restarts: initialisations; the solution with the lowest inertia is returned.

    Returns:
        (N,) int64 labels and (K, d) centroids normalised to unit length, on the device of `x`.
    """
    # with several threads the order of summation varies, and a resumed run must reproduce the centroids bit by bit
    with threadpool_limits(limits=1, user_api="openmp"):
        found = processes.from_main(lambda: KMeans(clusters, n_init=restarts, random_state=0).fit(x.cpu().numpy()))
    labels = torch.from_numpy(found.labels_.astype(np.int64)).to(x.device)
    return labels, F.normalize(torch.from_numpy(found.cluster_centers_).to(x), dim=1)


def student_t_clusters(x: Tensor, centers: Tensor) -> Tensor:
    """Soft assignments by deep embedded clustering (DEC) of fixed features.

    Adam minimises KL(p || q) over the centroids, with q_ik proportional to (1 + |x_i - c_k|^2 / d)^(-(d + 1) / 2) and targets
    p_ik proportional to q_ik^2 / sum_i q_ik. arXiv:2506.12698 reports better clusters of the tail than with k-means.

    Args:
        x: (N, d) unit vectors.
        centers: (K, d) initial centroids.

    Returns:
        (N, K) q; rows sum to 1.
    """
    centers = centers.clone().requires_grad_()
    optimizer = torch.optim.Adam([centers], lr=0.01)
    d = x.shape[1]

    def log_q() -> Tensor:
        squared = (x.square().sum(1, keepdim=True) - 2 * x @ centers.T + centers.square().sum(1)).clamp(min=0)
        return F.log_softmax(-(d + 1) / 2 * torch.log1p(squared / d), dim=1)

    with torch.enable_grad():
        for _ in range(DEC_STEPS):
            current = log_q()
            q = current.detach().exp()
            target = F.normalize(q.square() / q.sum(dim=0), p=1, dim=1)
            loss = F.kl_div(current, target, reduction="batchmean")
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return log_q().detach().exp()


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
    """(N,) mean cosine similarity of each of (N, d) unit vectors with its 20 nearest neighbours."""
    neighbours = min(NEIGHBOURS, len(x) - 1)
    found = []
    for start in range(0, len(x), ROWS):
        similarity = x[start : start + ROWS] @ x.T
        similarity[torch.arange(len(similarity)), torch.arange(start, start + len(similarity))] = -torch.inf
        found.append(similarity.topk(neighbours, dim=1).values.mean(dim=1))
    return torch.cat(found)
