import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from methods.clusters import local_density, simplex, sinkhorn, spherical_kmeans, student_t_clusters


def _clouds(sizes=(40, 15, 5), width=6, spread=0.1):
    torch.manual_seed(0)
    truth = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    order = torch.randperm(len(truth))
    points = F.normalize(torch.eye(width)[truth] + spread * torch.randn(len(truth), width), dim=1)
    return points[order], truth[order]


def test_kmeans_finds_separate_clouds_and_unit_centres():
    x, truth = _clouds()
    labels, centers = spherical_kmeans(x, 3, restarts=10)
    assert len({(int(a), int(b)) for a, b in zip(labels, truth, strict=True)}) == 3  # one name a cloud
    assert labels.dtype == torch.int64
    for cluster in range(3):
        mean = x[labels == cluster].mean(dim=0)
        assert torch.allclose(centers[cluster], mean / mean.norm(), atol=1e-5)


def test_kmeans_finds_the_same_each_time_whatever_numpy_drew():
    x, _ = _clouds(spread=1.0)
    found = []
    for seed in (0, 1):
        np.random.seed(seed)
        found.append(spherical_kmeans(x, 7, restarts=2))
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])


def test_student_t_memberships_start_from_their_formula_and_sharpen(monkeypatch):
    x, truth = _clouds()
    _, centers = spherical_kmeans(x, 3, restarts=2)
    monkeypatch.setattr("methods.clusters.DEC_STEPS", 0)
    first = student_t_clusters(x, centers)
    d = x.shape[1]
    for i in range(0, len(x), 7):
        kernel = [(1 + float((x[i] - c).square().sum()) / d) ** (-(d + 1) / 2) for c in centers]
        assert first[i].tolist() == pytest.approx([k / sum(kernel) for k in kernel], abs=1e-5)
    monkeypatch.undo()
    given = centers.clone()
    q = student_t_clusters(x, centers)
    assert torch.equal(centers, given)
    assert torch.allclose(q.sum(dim=1), torch.ones(len(x)), atol=1e-5)
    assert q.max(dim=1).values.mean() > first.max(dim=1).values.mean()
    assert len({(int(a), int(b)) for a, b in zip(q.argmax(dim=1), truth, strict=True)}) == 3
    with torch.no_grad():  # as between two epochs
        assert torch.equal(student_t_clusters(x, centers), q)


@pytest.mark.parametrize(("clusters", "width"), [(2, 2), (10, 128), (100, 128)])
def test_the_simplex_is_equally_far_from_itself_everywhere(clusters, width):
    targets = simplex(clusters, width)
    assert targets.shape == (clusters, width)
    cosines = targets @ targets.T
    assert torch.allclose(cosines.diagonal(), torch.ones(clusters), atol=1e-6)
    others = cosines[~torch.eye(clusters, dtype=torch.bool)]
    assert (others + 1 / (clusters - 1)).abs().max() < 1e-6
    with pytest.raises(ValueError, match="does not fit"):
        simplex(width + 1, width)


PRIORS = [[0.25, 0.25, 0.25, 0.25], [0.7, 0.2, 0.06, 0.04], [0.5, 0.0, 0.3, 0.2], [0.0, 1.0, 0.0, 0.0]]


@pytest.mark.parametrize("prior", PRIORS)
def test_sinkhorn_has_the_rows_and_columns_of_its_prior(prior):
    torch.manual_seed(0)
    scores, prior = 20 * torch.rand(2, 30, 4, dtype=torch.float64) - 10, torch.tensor(prior, dtype=torch.float64)
    q = sinkhorn(scores, prior, 2000)
    assert (q >= 0).all()
    assert torch.allclose(q.sum(dim=2), torch.ones(2, 30, dtype=torch.float64), atol=1e-12)
    assert torch.allclose(q.sum(dim=1), 30 * prior.expand(2, 4), atol=1e-6)
    assert torch.allclose(sinkhorn(scores.float(), prior.float(), 2000).double(), q, atol=1e-4)


def test_sinkhorn_equals_a_loop_of_its_rule():
    torch.manual_seed(0)
    scores, prior = torch.randn(5, 3, dtype=torch.float64), [0.5, 0.3, 0.2]
    q = [[math.exp(x) for x in row] for row in scores.tolist()]
    for _ in range(7):
        sums = [sum(row[k] for row in q) for k in range(3)]
        q = [[row[k] * 5 * prior[k] / sums[k] for k in range(3)] for row in q]
        q = [[x / sum(row) for x in row] for row in q]
    found = sinkhorn(scores, torch.tensor(prior, dtype=torch.float64), 7)
    assert torch.allclose(found, torch.tensor(q, dtype=torch.float64), atol=1e-12)


@pytest.mark.parametrize("count", [60, 8])  # more and fewer others than neighbours are asked for
def test_density_is_a_loop_over_the_20_nearest_others(count, monkeypatch):
    monkeypatch.setattr("methods.clusters.ROWS", 25)
    x = _clouds()[0][:count]
    expected = []
    for i in range(count):
        cosines = sorted((float(x[i] @ x[j]) for j in range(count) if j != i), reverse=True)[:20]
        expected.append(sum(cosines) / len(cosines))
    assert local_density(x).tolist() == pytest.approx(expected, abs=1e-5)
