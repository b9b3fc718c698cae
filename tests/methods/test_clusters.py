import math

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch.nn import functional as F

from methods import clusters
from methods.clusters import (
    hard_assignment,
    local_density,
    log_kernel_density,
    simplex,
    sinkhorn,
    soft_assignment,
    softmax_membership,
    spherical_kmeans,
    student_t_membership,
)


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


def test_kmeans_of_many_images_is_nearly_as_good_as_with_all_of_them_in_every_start(monkeypatch):
    x, _ = _clouds(sizes=(900, 300, 100, 30, 10), width=8, spread=0.3)

    def inertia(labels, centers):
        return float((1 - (x * centers[labels]).sum(dim=1)).sum())

    complete = inertia(*spherical_kmeans(x, 5, restarts=10))
    monkeypatch.setattr(clusters, "ALL_RESTARTS", 5 * 200)  # 200 of 1340 images
    again = [spherical_kmeans(x, 5, restarts=10) for _ in range(2)]
    assert torch.equal(again[0][0], again[1][0])
    assert torch.equal(again[0][1], again[1][1])
    assert inertia(*again[0]) < 1.05 * complete


def test_assignments_equal_those_by_a_matrix_of_memberships(monkeypatch):
    x, _ = _clouds()
    membership = softmax_membership(simplex(3, x.shape[1]), 0.1)
    q = membership(x)
    values = torch.tensor([0.2, 1.0, 5.0])
    monkeypatch.setattr(clusters, "ENTRIES", 3 * 7)  # blocks of seven images
    soft, hard = soft_assignment(x, 3, membership), hard_assignment(q.argmax(dim=1), 4)
    one_hot = F.one_hot(q.argmax(dim=1), 4).float()
    assert torch.allclose(soft.mean(values), q @ values, atol=1e-6)
    assert torch.equal(hard.mean(torch.arange(4.0)), one_hot @ torch.arange(4.0))
    assert torch.equal(hard.sizes, one_hot.sum(dim=0) + 1)  # the last cluster is empty
    assert torch.equal(soft.sizes, hard.sizes[:3])
    assert torch.equal(soft.labels, hard.labels)


def test_student_t_memberships_do_not_depend_on_the_block_size(monkeypatch):
    x, _ = _clouds()
    _, centers = spherical_kmeans(x, 3, restarts=2)
    whole = student_t_membership(x, centers)(x)
    monkeypatch.setattr(clusters, "ENTRIES", 3 * 7)
    assert torch.allclose(student_t_membership(x, centers)(x), whole, atol=1e-4)


def test_student_t_memberships_start_from_their_formula_and_sharpen(monkeypatch):
    x, truth = _clouds()
    _, centers = spherical_kmeans(x, 3, restarts=2)
    monkeypatch.setattr("methods.clusters.DEC_STEPS", 0)
    first = student_t_membership(x, centers)(x)
    d = x.shape[1]
    for i in range(0, len(x), 7):
        kernel = [(1 + float((x[i] - c).square().sum()) / d) ** (-(d + 1) / 2) for c in centers]
        assert first[i].tolist() == pytest.approx([k / sum(kernel) for k in kernel], abs=1e-5)
    monkeypatch.undo()
    given = centers.clone()
    q = student_t_membership(x, centers)(x)
    assert torch.equal(centers, given)
    assert torch.allclose(q.sum(dim=1), torch.ones(len(x)), atol=1e-5)
    assert q.max(dim=1).values.mean() > first.max(dim=1).values.mean()
    assert len({(int(a), int(b)) for a, b in zip(q.argmax(dim=1), truth, strict=True)}) == 3
    with torch.no_grad():  # as between two epochs
        assert torch.equal(student_t_membership(x, centers)(x), q)


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
    monkeypatch.setattr(clusters, "ENTRIES", 25 * count)
    x = _clouds()[0][:count]
    expected = []
    for i in range(count):
        cosines = sorted((float(x[i] @ x[j]) for j in range(count) if j != i), reverse=True)[:20]
        expected.append(sum(cosines) / len(cosines))
    assert local_density(x).tolist() == pytest.approx(expected, abs=1e-5)


def test_density_among_a_subset_ranks_images_as_among_all(monkeypatch):
    x = torch.cat([_clouds(sizes=(1500,), spread=0.1)[0], _clouds(sizes=(300,), spread=0.5)[0]])
    every = local_density(x)
    monkeypatch.setattr(clusters, "REFERENCES", 300)
    subset = local_density(x)
    assert torch.equal(subset, local_density(x))
    assert spearmanr(every, subset).statistic > 0.9
    assert subset.max() < 1 - 1e-6  # a reference is not its own neighbour


def test_the_kernel_density_of_a_subset_does_not_depend_on_its_members(monkeypatch):
    x = F.normalize(torch.randn(600, 64, generator=torch.Generator().manual_seed(0)), dim=1)
    monkeypatch.setattr(clusters, "REFERENCES", 300)
    density = log_kernel_density(x, 0.1)  # so narrow that the vector itself would be most of its density
    chosen = torch.zeros(600, dtype=torch.bool)
    chosen[clusters._references(x)] = True
    assert chosen.sum() == 300
    assert abs(density[chosen].mean() - density[~chosen].mean()) < 0.25 * density.std()
