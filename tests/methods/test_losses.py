import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from methods.losses import byol_regression, info_nce, info_nce_in_batch, nt_xent, off_diagonal_squares


@pytest.mark.parametrize("case", range(3))
def test_nt_xent_equals_the_reference(golden, case):
    z1, z2 = (torch.tensor(golden[f"ntxent{case}_z{view}"], requires_grad=True) for view in (1, 2))
    losses = nt_xent(z1, z2, float(golden[f"ntxent{case}_tau"]))
    losses.mean().backward()
    assert np.abs(losses.detach().numpy() - golden[f"ntxent{case}_per_sample"]).max() < 1e-7
    assert abs(losses.mean().item() - golden[f"ntxent{case}_mean"]) < 1e-7
    assert np.abs(z1.grad.numpy() - golden[f"ntxent{case}_grad1"]).max() < 1e-7
    assert np.abs(z2.grad.numpy() - golden[f"ntxent{case}_grad2"]).max() < 1e-7


def test_nt_xent_equals_a_loop_written_from_the_formula():
    torch.manual_seed(0)
    B, tau = 5, 0.3
    z1, z2 = torch.randn(B, 7, dtype=torch.float64), torch.randn(B, 7, dtype=torch.float64)
    z = [F.normalize(v, dim=0) for v in (*z1, *z2)]
    expected = []
    for i in range(B):
        anchors = []
        for a, p in ((i, i + B), (i + B, i)):
            denominator = sum(math.exp(z[a] @ z[j] / tau) for j in range(2 * B) if j != a)
            anchors.append(-math.log(math.exp(z[a] @ z[p] / tau) / denominator))
        expected.append(sum(anchors) / 2)
    assert torch.allclose(nt_xent(z1, z2, tau), torch.tensor(expected, dtype=torch.float64), atol=1e-12)


def test_nt_xent_is_finite_at_any_temperature_and_ignores_autocast():
    z1, z2 = torch.randn(8, 16), torch.randn(8, 16)
    assert nt_xent(z1, z2, 1e-3).isfinite().all()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(nt_xent(z1, z2, 0.2), nt_xent(z1, z2, 0.2).float())
        inside = nt_xent(z1, z2, 0.2)
    assert torch.equal(inside, nt_xent(z1, z2, 0.2))


def test_nt_xent_follows_the_batch_when_it_is_permuted():
    z1, z2, order = torch.randn(8, 16), torch.randn(8, 16), torch.randperm(8)
    assert torch.allclose(nt_xent(z1[order], z2[order], 0.2), nt_xent(z1, z2, 0.2)[order], atol=1e-6)


@pytest.mark.parametrize("tau", [0.2, torch.tensor([0.1, 0.2, 0.3, 0.5], dtype=torch.float64)])
def test_info_nce_equals_a_loop_written_from_the_formula(tau):
    torch.manual_seed(0)
    query, key, queue = (torch.randn(rows, 7, dtype=torch.float64) for rows in (4, 4, 9))
    q, k, negatives = ([v / v.norm() for v in rows] for rows in (query, key, queue))
    expected = []
    for i in range(4):
        t = float(tau[i]) if isinstance(tau, torch.Tensor) else tau
        positive = math.exp(q[i] @ k[i] / t)
        expected.append(-math.log(positive / (positive + sum(math.exp(q[i] @ n / t) for n in negatives))))
    assert info_nce(query, key, queue, tau).tolist() == pytest.approx(expected, abs=1e-12)


def test_info_nce_in_batch_and_its_gradients_equal_cross_entropy():
    torch.manual_seed(0)
    query, key = (torch.randn(5, 8, dtype=torch.float64, requires_grad=True) for _ in range(2))
    losses = info_nce_in_batch(query, key, 0.3)
    logits = F.normalize(query, dim=1) @ F.normalize(key, dim=1).T / 0.3
    expected = F.cross_entropy(logits, torch.arange(5), reduction="none")
    assert losses.tolist() == pytest.approx(expected.tolist(), abs=1e-12)
    found = torch.autograd.grad(losses.sum(), [query, key])
    for gradient, of_entropy in zip(found, torch.autograd.grad(expected.sum(), [query, key]), strict=True):
        assert torch.allclose(gradient, of_entropy, atol=1e-12)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = info_nce_in_batch(query.float(), key.float(), 0.3)
    assert torch.equal(inside, info_nce_in_batch(query.float(), key.float(), 0.3))


def test_squares_off_the_diagonal_are_those_of_a_loop():
    matrix = torch.arange(9.0).view(3, 3)
    assert off_diagonal_squares(matrix).item() == sum(i * i for i in range(9) if i not in (0, 4, 8))


def test_info_nce_and_its_gradient_equal_cross_entropy():
    torch.manual_seed(0)
    query = torch.randn(5, 8, dtype=torch.float64, requires_grad=True)
    key = torch.randn(5, 8, dtype=torch.float64, requires_grad=True)
    queue = F.normalize(torch.randn(12, 8, dtype=torch.float64), dim=1).requires_grad_()
    logits = F.normalize(query, dim=1) @ torch.cat([F.normalize(key, dim=1), queue]).detach().T / 0.2
    own = torch.cat([logits[:, :5].diagonal()[:, None], logits[:, 5:]], dim=1)
    expected = F.cross_entropy(own, torch.zeros(5, dtype=torch.int64), reduction="none")
    losses = info_nce(query, key, queue, 0.2)
    assert torch.allclose(losses, expected, atol=1e-12)
    gradients = [torch.autograd.grad(x.mean(), query, retain_graph=True)[0] for x in (losses, expected)]
    assert torch.allclose(*gradients, atol=1e-12)
    losses.sum().backward()
    assert key.grad is None
    assert queue.grad is None


def test_info_nce_is_finite_at_any_temperature_and_ignores_autocast():
    query, key, queue = torch.randn(8, 16), torch.randn(8, 16), torch.randn(32, 16)
    assert info_nce(query, key, queue, 1e-3).isfinite().all()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = info_nce(query, key, queue, 0.2)
    assert torch.equal(inside, info_nce(query, key, queue, 0.2))
    assert info_nce(query.bfloat16(), key.bfloat16(), queue, 0.2).dtype == torch.float32


def test_byol_regression_equals_a_loop_written_from_the_formula():
    torch.manual_seed(0)
    p, z = (
        torch.randn(6, 9, dtype=torch.float64, requires_grad=True),
        torch.randn(6, 9, dtype=torch.float64, requires_grad=True),
    )
    expected = [2 - 2 * (a @ b / (a.norm() * b.norm())).item() for a, b in zip(p, z, strict=True)]
    losses = byol_regression(p, z)
    assert np.abs(losses.detach().numpy() - expected).max() < 1e-12
    # the squared distance of the unit vectors, which is how the paper writes it
    assert torch.allclose(losses, (F.normalize(p, dim=1) - F.normalize(z, dim=1)).pow(2).sum(dim=1))
    losses.sum().backward()
    assert z.grad is None
    assert torch.allclose(byol_regression(p, -p), torch.full((6,), 4.0, dtype=torch.float64))
