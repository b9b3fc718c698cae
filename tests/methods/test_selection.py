import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from methods import clusters
from methods.clusters import RESTARTS, spherical_kmeans
from methods.losses import nt_xent
from methods.selection import expected_contrastive_loss, greedy_k_center, loss_in_batches, scores
from tests.conftest import GOLDEN


@pytest.fixture(scope="module")
def reference():
    return {name: torch.from_numpy(values) for name, values in np.load(GOLDEN / "mak.npz").items()}


def _directions(count, width=6, seed=0):
    torch.manual_seed(seed)
    return F.normalize(torch.randn(count, width, dtype=torch.float64), dim=1)


def test_the_expected_loss_is_the_references(reference):
    # the reference subtracts a view's similarity with itself in float32
    assert (expected_contrastive_loss(reference["z"], 0.2) - reference["ecle"]).abs().max() < 1e-6


def test_the_expected_loss_in_random_batches_is_the_references(reference):
    """Two batches of 9 of 23 images, and a third that has 4 images of the second one."""
    torch.manual_seed(0)
    assert (loss_in_batches(reference["z"][:2], 0.2, 9, 3) - reference["batched"]).abs().max() < 1e-6


@pytest.mark.parametrize(("A", "B", "tau"), [(2, 1, 0.2), (2, 5, 0.1), (5, 4, 0.5), (3, 7, 0.02)])
def test_the_expected_loss_is_the_mean_of_nt_xent_over_pairs(A, B, tau):
    torch.manual_seed(0)
    z = torch.randn(A, B, 3, dtype=torch.float64)
    pairs = [nt_xent(z[a], z[b], tau) for a in range(A) for b in range(a + 1, A)]
    assert torch.allclose(expected_contrastive_loss(z, tau), torch.stack(pairs).mean(dim=0), atol=1e-12)


@pytest.mark.parametrize(("count", "size"), [(5, 9), (9, 9), (10, 9), (17, 9), (18, 9), (27, 9), (4, 1)])
def test_each_image_has_one_loss_per_division(count, size, monkeypatch):
    """Whatever the last batch has; a batch is full if there are enough images."""
    sizes = []

    def ones(z, tau):
        sizes.append(z.shape[1])
        return torch.ones(z.shape[1])

    monkeypatch.setattr("methods.selection.expected_contrastive_loss", ones)
    assert torch.equal(loss_in_batches(torch.randn(2, count, 3), 0.2, size, 4), torch.ones(count))
    assert set(sizes) == {min(size, count)}
    assert len(sizes) == 4 * math.ceil(count / size)


def test_distances_and_selection_are_the_references(reference):
    seeds, pool = (F.normalize(reference[key], dim=1) for key in ("seeds", "pool"))
    _, centers = spherical_kmeans(seeds, 4, RESTARTS)
    distance = 1 - (pool @ centers.T).amax(dim=1)
    assert (distance - reference["distance"]).abs().max() < 1e-9
    assert torch.equal(greedy_k_center(pool, seeds, 12), reference["greedy"])
    best = scores(reference["tail"], distance, 0.5).topk(18).indices
    assert torch.equal(best[greedy_k_center(pool[best], seeds, 12)], reference["selected"])


@pytest.mark.parametrize(("candidates", "centers", "count"), [(12, 5, 12), (12, 1, 4), (1, 3, 1), (30, 40, 7)])
def test_k_center_equals_a_loop_written_from_the_definition(candidates, centers, count):
    x, known = _directions(candidates), list(_directions(centers, seed=1))
    expected: list[int] = []
    for _ in range(count):
        left = [i for i in range(candidates) if i not in expected]
        nearest = [max(float(x[i] @ other) for other in known) for i in left]
        expected.append(left[nearest.index(min(nearest))])
        known.append(x[expected[-1]])
    assert greedy_k_center(x, _directions(centers, seed=1), count).tolist() == expected


def test_equal_candidates_are_selected_once_each():
    assert greedy_k_center(torch.ones(6, 1), torch.ones(2, 1), 6).unique().numel() == 6


def test_memory_of_k_center_is_bounded(monkeypatch):
    """Similarities with all training images are computed in blocks."""
    x, centers = _directions(50), _directions(40, seed=1)
    expected = greedy_k_center(x, centers, 20)
    largest = []
    original = torch.Tensor.amax
    monkeypatch.setattr(torch.Tensor, "amax", lambda self, **given: largest.append(self.numel()) or original(self, **given))
    monkeypatch.setattr(clusters, "ENTRIES", 160)
    assert torch.equal(greedy_k_center(x, centers, 20), expected)
    assert largest[0] == 160
    assert sum(largest) == 50 * 40


@pytest.mark.parametrize("loss_weight", [0.0, 0.3, 1.0])
def test_scores_equal_the_formula(loss_weight):
    losses, distances = np.random.RandomState(0).rand(2, 9)
    expected = [
        loss_weight * (loss - losses.mean()) / losses.std()
        - (1 - loss_weight) * (distance - distances.mean()) / distances.std()
        for loss, distance in zip(losses, distances, strict=True)
    ]
    found = scores(torch.from_numpy(losses), torch.from_numpy(distances), loss_weight)
    assert found.tolist() == pytest.approx(expected, abs=1e-12)
    assert not scores(torch.ones(3), torch.ones(3), loss_weight).any()  # and not NaN
