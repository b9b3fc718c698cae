import math

import pytest
import torch

from methods.losses import nt_xent
from tests.pairs import by_anchor, difference_to_golden, embeddings, gradients, losses_of


def test_it_equals_the_reference(golden_losses):
    z = [golden_losses[key].clone().requires_grad_() for key in ("z1", "z2")]
    assert difference_to_golden(golden_losses, "macl", losses_of("macl", *z, threshold=0.2), *z) < 1e-12


@pytest.mark.parametrize(("alpha", "threshold"), [(0.0, 0.0), (0.5, 0.0), (1.0, 0.4)])
def test_it_equals_a_loop_written_from_the_formula(alpha, threshold):
    z = embeddings()
    alignment = sum(by_anchor(*z, 1.0, lambda positive, others, cosine: cosine)) / 6
    tau = 0.2 * (1 + alpha * (alignment - threshold))

    def loss(positive, others, _):
        p = positive / (positive + sum(others))
        return -math.log(p) / (1 - p)

    found = losses_of("macl", *z, 0.2, alpha=alpha, threshold=threshold)
    assert found.tolist() == pytest.approx(by_anchor(*z, tau, loss), abs=1e-12)


def test_at_a_constant_temperature_its_gradient_is_that_of_dcl():
    z = embeddings()
    ours, plain = (gradients(losses, *z) for losses in (losses_of("macl", *z, 0.2, alpha=0.0), losses_of("dcl", *z, 0.2)))
    assert torch.allclose(ours, plain, atol=1e-14)
    assert not torch.allclose(ours, gradients(nt_xent(*z, 0.2), *z), atol=1e-3)


def test_the_temperature_rises_with_the_alignment():
    z1, far = embeddings()
    near = z1 * 1.0
    for z2, sign in ((near, 1), (far, 0), (-near, -1)):
        alignment = torch.nn.functional.cosine_similarity(z1, z2).mean().item()
        tau = 0.3 * (1 + 0.5 * (alignment - 0.1))
        assert torch.allclose(
            losses_of("macl", z1, z2, 0.3, threshold=0.1), losses_of("macl", z1, z2, tau, alpha=0.0), atol=1e-12
        )
        assert math.copysign(1, tau - 0.3) == (sign or math.copysign(1, alignment - 0.1))


def test_extremes_are_finite():
    z1 = torch.eye(4).requires_grad_()
    for z2, settings in ((z1 * 1.0, {}), (z1 * -1.0, {"alpha": 1.0, "threshold": 1.0})):
        losses = losses_of("macl", z1, z2, 1e-2, **settings)
        assert losses.isfinite().all()
        assert gradients(losses, z1).isfinite().all()
        assert gradients(losses, z1).abs().max() <= 1e4  # at most some 1 / tau
