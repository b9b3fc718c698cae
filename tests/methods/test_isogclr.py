import math

import pytest
import torch
from torch.nn import functional as F

from core.errors import UserError
from tests.pairs import embeddings, gradients, losses_of
from tests.runs import small_config
from training.prepare import build_method


def _method(samples, **hparams):
    return build_method(small_config("isogclr", hparams=hparams), samples).double()


def test_losses_gradients_and_memories_equal_the_references(golden_losses):
    given = {key.removeprefix("isogclr_"): values for key, values in golden_losses.items() if key.startswith("isogclr_")}
    method = _method(16)
    method.temperature.fill_(0.1)  # made in float32
    for step in range(4):
        z = given["views"][step].clone().requires_grad_()
        loss = method.objective((z[0], z[1]), given["index"][step], step // 2).loss
        assert (loss.detach() - given["loss"][step]).abs() < 1e-12
        assert (torch.autograd.grad(loss, z)[0] - given["grads"][step]).abs().max() < 1e-12
        assert (method.temperature[:-1] - given["tau"][step]).abs().max() < 1e-12
        assert (method.memory.all() - given["s"][step]).abs().max() < 1e-9  # values up to 1e4
        assert (method.gradient[:-1] - given["u"][step]).abs().max() < 1e-12


def test_two_steps_equal_a_loop_written_from_the_algorithm():
    rho, gamma, beta, eta, count = 0.7, 0.6, 0.3, 0.05, 10
    method = _method(6, rho=rho, gamma=gamma, beta=beta, eta=eta, tau_max=0.13)
    method.temperature.fill_(0.1)
    tau, s, u = [0.1] * 6, [0.0] * 6, [0.0] * 6
    for number in range(2):
        z1, z2 = embeddings(seed=number)
        z, expected = [F.normalize(v, dim=0) for v in (*z1.detach(), *z2.detach())], 0.0
        for i in range(6):
            averages, slopes = [], []
            for a, p in ((i, i + 6), (i + 6, i)):
                h = [float(z[a] @ z[j]) for j in range(12) if j % 6 != i]
                g = sum(math.exp(x / tau[i]) for x in h) / count
                averages.append((1 - gamma) * s[i] + gamma * g if number else g)
                w = [math.exp(x / tau[i]) / averages[-1] / count for x in h]
                mean = sum(x * y for x, y in zip(w, h, strict=True))
                expected += (mean - float(z[a] @ z[p])) / 6
                slopes.append(math.log(averages[-1]) + rho - mean / tau[i])
            s[i] = sum(averages) / 2
            u[i] = (1 - beta) * u[i] + beta * max(-3, min(3, sum(slopes) / 2))
            tau[i] = max(0.05, min(0.13, tau[i] - eta * u[i]))
        output = method.objective((z1, z2), torch.arange(6), number)
        assert output.loss.item() == pytest.approx(expected, abs=1e-12)
        assert output.scores.tolist() == pytest.approx([-t for t in tau], abs=1e-12)
    assert method.temperature[:-1].tolist() == pytest.approx(tau, abs=1e-12)
    assert len(set(tau)) > 1


def test_at_constant_temperatures_without_memory_its_gradient_is_that_of_dcl():
    """The robust loss is tau times the decoupled loss there, and the reference sums both views."""
    z, tau = embeddings(), torch.linspace(0.1, 0.5, 6, dtype=torch.float64)
    method = _method(6, gamma=1.0, eta=0.0)
    method.temperature[:-1] = tau
    for _ in range(2):
        loss = method.objective(z, torch.arange(6), 0).loss
        assert torch.equal(method.temperature[:-1], tau)
        assert torch.allclose(gradients(loss, *z), gradients(2 * tau * losses_of("dcl", *z, tau), *z), atol=1e-12)


def test_frequent_images_get_higher_temperatures():
    """8 images of one kind, and 32 that are unlike all others."""
    torch.manual_seed(0)
    method, width = _method(40), 64
    frequent = torch.arange(40) < 8
    centre = torch.where(frequent[:, None], torch.eye(width)[0], torch.eye(width)[1:41]).double()
    for epoch in range(100):
        z1, z2 = (centre + 0.05 * torch.randn(40, width, dtype=torch.float64) for _ in range(2))
        scores = method.objective((z1, z2), torch.arange(40), epoch).scores
    assert method.temperature[:-1][frequent].min() > 2 * method.temperature[:-1][~frequent].max()
    assert scores[~frequent].min() > scores[frequent].max()
    assert torch.equal(method.sample_state()["temperature"], -scores)


def test_ood_images_change_no_memory():
    method, index = _method(6), torch.tensor([0, -1, 2, -1, 4, 5])
    method.objective(embeddings(), index, 0)
    assert method.temperature[-1].item() == 0.1
    assert method.gradient[-1] == 0
    assert (method.gradient != 0).nonzero().flatten().tolist() == [0, 2, 4, 5]
    assert (method.temperature[:-1] != torch.tensor(0.1)).nonzero().flatten().tolist() == [0, 2, 4, 5]


@pytest.mark.parametrize("hparams", [{"tau_min": "0.2"}, {"tau_max": "0.05"}, {"temperature": "2"}])
def test_a_start_outside_the_limits_is_a_mistake(hparams):
    with pytest.raises(UserError, match=r"isogclr\.temperature=.* is not between tau_min=.* and tau_max=.*; change"):
        _method(6, **hparams)
