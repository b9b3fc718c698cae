import pytest
import torch

from methods.vicreg import covariance_penalty, variance_hinge
from tests.baselines import built, golden_embeddings, largest_difference, layers, objective


def _covariance_by_loops(z):
    B, width = len(z), len(z[0])
    means = [sum(row[d] for row in z) / B for d in range(width)]
    return [[sum((row[d] - means[d]) * (row[e] - means[e]) for row in z) / (B - 1) for e in range(width)] for d in range(width)]


def test_loss_and_gradients_equal_the_reference():
    assert largest_difference(built("vicreg", loss_scale=1.0), golden_embeddings("z1", "z2")) < 1e-12


def test_loss_and_scores_equal_loops_written_from_the_definition():
    z1, z2 = golden_embeddings("z1", "z2").values()
    B, width = z1.shape
    a, b = z1.tolist(), z2.tolist()
    differences = [sum((x - y) ** 2 for x, y in zip(a[i], b[i], strict=True)) / width for i in range(B)]
    expected = 3 * sum(differences) / B
    for z in (a, b):
        covariance = _covariance_by_loops(z)
        expected += 5 * sum(max(0.0, 1 - (covariance[d][d] + 1e-4) ** 0.5) for d in range(width)) / width
        expected += 7 * sum(covariance[d][e] ** 2 for d in range(width) for e in range(width) if d != e) / width
    output = objective(built("vicreg", invariance=3.0, variance=5.0, covariance=7.0, loss_scale=0.5), z1, z2)
    assert output.loss.item() == pytest.approx(expected / 2, abs=1e-11)
    assert output.scores.tolist() == pytest.approx(differences, abs=1e-12)


def test_terms_of_embeddings_with_known_covariance():
    signs = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]], dtype=torch.float64)
    assert covariance_penalty(signs).item() == 0
    assert covariance_penalty(signs[:, [0, 0]]).item() == pytest.approx((4 / 3) ** 2)
    assert variance_hinge(signs).item() == 0
    assert variance_hinge(torch.ones(4, 2, dtype=torch.float64)).item() == pytest.approx(0.99)


def test_bfloat16_embeddings_are_compared_in_float32():
    z1, z2 = (z.detach().bfloat16() for z in golden_embeddings("z1", "z2").values())
    method = built("vicreg").float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = objective(method, z1, z2).loss
    assert inside.dtype == torch.float32
    assert torch.equal(inside, objective(method, z1.float(), z2.float()).loss)


def test_the_projector_is_that_of_the_reference():
    hidden = ["Linear 2048", "BatchNorm1d", "ReLU"]
    assert layers(built("vicreg", hidden_dim=2048, out_dim=2048).projector) == [*hidden, *hidden, "Linear 2048"]
