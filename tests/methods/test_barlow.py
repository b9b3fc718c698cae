import pytest
import torch

from methods.barlow import barlow_twins, standardized
from tests.baselines import built, golden_embeddings, largest_difference, layers, objective


def _standardized_by_loops(z):
    rows, columns = z.tolist(), []
    for d in range(len(rows[0])):
        values = [row[d] for row in rows]
        mean = sum(values) / len(values)
        variance = sum((value - mean) ** 2 for value in values) / len(values)
        columns.append([(value - mean) / (variance + 1e-5) ** 0.5 for value in values])
    return columns


def test_loss_and_gradients_equal_the_reference():
    assert largest_difference(built("barlow", loss_scale=0.1), golden_embeddings("z1", "z2")) < 1e-12


def test_loss_and_scores_equal_loops_written_from_the_definition():
    z1, z2 = golden_embeddings("z1", "z2").values()
    a, b = _standardized_by_loops(z1), _standardized_by_loops(z2)
    B, width = z1.shape
    expected = 0.0
    for d in range(width):
        for e in range(width):
            correlation = sum(a[d][i] * b[e][i] for i in range(B)) / B
            expected += (1 - correlation) ** 2 if d == e else 0.03 * correlation**2
    output = objective(built("barlow", redundancy=0.03, loss_scale=2.0), z1, z2)
    assert output.loss.item() == pytest.approx(2 * expected, abs=1e-12)
    for i in range(B):
        score = sum((a[d][i] - b[d][i]) ** 2 for d in range(width)) / width / 2
        assert output.scores[i].item() == pytest.approx(score, abs=1e-12)


def test_scores_are_on_average_the_lack_of_correlation():
    torch.manual_seed(0)
    z1, z2 = torch.randn(200, 6).double(), torch.randn(200, 6).double()
    diagonal = (standardized(z1) * standardized(z2)).mean()
    assert objective(built("barlow"), z1, z2).scores.mean().item() == pytest.approx(1 - diagonal.item(), abs=1e-4)


def test_equal_and_uncorrelated_dimensions_have_no_loss():
    signs = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]], dtype=torch.float64)
    assert barlow_twins(signs, signs, 1.0).item() == 0
    assert barlow_twins(signs, signs[:, [0, 0]], 0.5).item() == 1 + 0.5  # one dimension twice


def test_bfloat16_embeddings_are_compared_in_float32():
    z1, z2 = (z.detach().bfloat16() for z in golden_embeddings("z1", "z2").values())
    method = built("barlow").float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = objective(method, z1, z2).loss
    assert inside.dtype == torch.float32
    assert torch.equal(inside, objective(method, z1.float(), z2.float()).loss)


def test_the_projector_is_that_of_the_reference():
    hidden = ["Linear 2048", "BatchNorm1d", "ReLU"]
    assert layers(built("barlow", hidden_dim=2048, out_dim=2048).projector) == [*hidden, *hidden, "Linear 2048"]
