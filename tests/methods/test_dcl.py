import math

import pytest
import torch
from torch.nn import functional as F

from methods.losses import log_probabilities, negatives, nt_xent, per_image, positives
from tests.pairs import by_anchor, difference_to_golden, embeddings, losses_of


@pytest.mark.parametrize("name", ["dcl", "dclw"])
def test_they_equal_the_reference(name, golden_losses):
    z = [golden_losses[key].clone().requires_grad_() for key in ("z1", "z2")]
    assert difference_to_golden(golden_losses, name, losses_of(name, *z), *z) < 1e-12


@pytest.mark.parametrize("sigma", [None, 0.5, 0.1])
def test_they_equal_a_loop_written_from_the_formula(sigma):
    z = embeddings()
    cosines = by_anchor(*z, 0.3, lambda positive, others, cosine: cosine)
    weights = [1.0] * len(cosines)
    if sigma:
        e = [math.exp(cosine / sigma) for cosine in cosines]
        weights = [2 - x / (sum(e) / len(e)) for x in e]
    below = by_anchor(*z, 0.3, lambda positive, others, cosine: math.log(sum(others)))
    expected = [b - w * cosine / 0.3 for b, w, cosine in zip(below, weights, cosines, strict=True)]
    found = losses_of("dclw", *z, 0.3, sigma=sigma) if sigma else losses_of("dcl", *z, 0.3)
    assert found.tolist() == pytest.approx(expected, abs=1e-12)


def test_nt_xent_is_the_softplus_of_each_anchors_term():
    """log(1 + sum of negatives / positive), so that DCL is its limit for poor positives."""
    z = embeddings()
    similarity, _ = log_probabilities(*z, 0.2)
    terms = negatives(similarity).logsumexp(dim=1) - positives(similarity)
    assert torch.allclose(losses_of("dcl", *z, 0.2), per_image(terms), atol=1e-12)
    assert torch.allclose(nt_xent(*z, 0.2), per_image(F.softplus(terms)), atol=1e-12)


def test_weights_have_mean_1_and_vanish_at_a_large_sigma():
    z = embeddings()
    assert torch.allclose(losses_of("dclw", *z, sigma=1e9), losses_of("dcl", *z), atol=1e-7)
    equal = [torch.eye(4, dtype=torch.float64), torch.eye(4, dtype=torch.float64)]  # all positives are equally close
    assert torch.allclose(losses_of("dclw", *equal), losses_of("dcl", *equal), atol=1e-12)


@pytest.mark.parametrize("name", ["dcl", "dclw", "macl", "focal"])
def test_one_temperature_per_image_is_allowed(name):
    z = embeddings()
    each = torch.full((6,), 0.3, dtype=torch.float64)
    assert torch.allclose(losses_of(name, *z, each), losses_of(name, *z, 0.3), atol=1e-12)
