"""Pseudo-labels: features of all images grouped without labels. Shared by COLT and TASE."""

import numpy as np
import torch
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits
from torch import Tensor
from torch.nn import functional as F

RESTARTS = 10  # of k-means
NONE = -1  # the cluster of images that have not been clustered yet, or by a method without clusters
NEIGHBOURS = 20
DEC_STEPS = 100  # gradient steps on the centres
ROWS = 2048  # of a similarity matrix held at once


def spherical_kmeans(x: Tensor, clusters: int, restarts: int) -> tuple[Tensor, Tensor]:
    """scikit-learn's k-means on unit vectors, always with the same seed.

    Args:
        x: (N, d) unit vectors.
        clusters: K, at most N.
        restarts: starts, of which the best is kept.

    Returns:
        (N,) int64 labels, and (K, d) centres scaled back to unit length, on the device of `x`.
    """
    # several threads would add up centres in another order each time, and a resumed run has to see the same ones
    with threadpool_limits(limits=1, user_api="openmp"):
        found = KMeans(clusters, n_init=restarts, random_state=0).fit(x.cpu().numpy())
    labels = torch.from_numpy(found.labels_.astype(np.int64)).to(x.device)
    return labels, F.normalize(torch.from_numpy(found.cluster_centers_).to(x), dim=1)


def student_t_clusters(x: Tensor, centers: Tensor) -> Tensor:
    """Soft clusters by deep embedded clustering (DEC) with the features held fixed.

    Centres move so that q_ik, proportional to (1 + |x_i - c_k|^2 / d)^(-(d + 1) / 2), comes near its own sharpened version
    p_ik, proportional to q_ik^2 / sum_i q_ik. arXiv:2506.12698 reports that it answers better to the tail than k-means.

    Args:
        x: (N, d) unit vectors.
        centers: (K, d) to begin from.

    Returns:
        (N, K) q, rows summing to one.
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
    """(K, d) unit vectors whose cosines are all -1 / (K - 1): the fixed targets of Geometric Harmonization.

    Raises ValueError where so many directions do not fit, K > d.
    """
    if clusters > width:
        raise ValueError(f"{clusters} equally far directions do not fit into {width} dimensions")
    centred = torch.eye(clusters) - 1 / clusters
    return F.normalize(F.pad(centred, (0, width - clusters)), dim=1)


def local_density(x: Tensor) -> Tensor:
    """(N,) mean cosine of unit vectors (N, d) with their 20 nearest others."""
    neighbours = min(NEIGHBOURS, len(x) - 1)
    found = []
    for start in range(0, len(x), ROWS):
        similarity = x[start : start + ROWS] @ x.T
        similarity[torch.arange(len(similarity)), torch.arange(start, start + len(similarity))] = -torch.inf
        found.append(similarity.topk(neighbours, dim=1).values.mean(dim=1))
    return torch.cat(found)
