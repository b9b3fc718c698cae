import math

import pytest
import torch

from methods.losses import nt_xent
from tests.pairs import by_anchor, difference_to_golden, embeddings, gradients, losses_of


def test_it_equals_the_reference(golden_losses):
    z = [golden_losses[key].clone().requires_grad_() for key in ("z1", "z2")]
    losses = losses_of("focal", *z)
    assert (losses - golden_losses["focal_losses"]).abs().max() < 1e-12
    assert difference_to_golden(golden_losses, "focal", losses, *z) < 1e-12


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0, 5.0])
def test_it_equals_a_loop_written_from_the_formula(gamma):
    z = embeddings()

    def loss(positive, others, _):
        p = positive / (positive + sum(others))
        return -((1 - p) ** gamma) * math.log(p)

    assert losses_of("focal", *z, 0.3, gamma=gamma).tolist() == pytest.approx(by_anchor(*z, 0.3, loss), abs=1e-12)


def test_with_exponent_0_it_is_nt_xent():
    z = embeddings()
    ours, plain = losses_of("focal", *z, gamma=0.0), nt_xent(*z, 0.2)
    assert torch.equal(ours, plain)
    assert torch.allclose(gradients(ours, *z), gradients(plain, *z), atol=1e-15)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_certain_positives_have_finite_gradients(gamma):
    z1 = torch.eye(4).requires_grad_()
    losses = losses_of("focal", z1, z1 * 1.0, 1e-3, gamma=gamma)
    assert losses.tolist() == [0, 0, 0, 0]
    assert gradients(losses, z1).isfinite().all()
