import math

import pytest
import torch

from methods.momentum import cosine_momentum
from tests.baselines import built, cosine, golden_embeddings, largest_difference, layers, objective


def _embeddings():
    embeddings = golden_embeddings("p1", "p2", "z1", "z2")
    for key in ("z1", "z2"):  # of the key network
        embeddings[key].requires_grad_(False)
    return embeddings


def test_loss_and_gradients_equal_the_reference():
    assert largest_difference(built("mocov3"), _embeddings()) < 1e-12


@pytest.mark.parametrize("tau", [0.2, 1.0])
def test_losses_equal_a_loop_written_from_the_formula(tau):
    q1, q2, k1, k2 = _embeddings().values()
    output = objective(built("mocov3", temperature=tau), q1, q2, k1, k2)
    for i in range(len(q1)):
        expected = 0.0
        for q, k in ((q1[i], k2), (q2[i], k1)):
            similarities = [math.exp(cosine(q, key) / tau) for key in k]
            expected += -2 * tau * math.log(similarities[i] / sum(similarities))
        assert output.scores[i].item() == pytest.approx(expected, abs=1e-12)
    assert output.loss.item() == pytest.approx(output.scores.mean().item(), abs=1e-12)


def test_keys_follow_the_average_and_get_no_gradient():
    method = built("mocov3", momentum=0.5)
    views = (torch.randn(6, 3, 16, 16).double(), torch.randn(6, 3, 16, 16).double())
    assert [z.requires_grad for z in method.encode(views)] == [True, True, False, False]
    old, expected = method.key_projector[0].weight.clone(), cosine_momentum(0.5, 3, method.scale.steps)
    with torch.no_grad():
        method.projector[0].weight += 1
    method.after_step(3)
    assert torch.allclose(method.key_projector[0].weight, old + (1 - expected))


def test_heads_are_those_of_the_reference():
    method = built("mocov3", hidden_dim=4096)
    for head in (method.projector, method.predictor):
        assert layers(head) == ["Linear 4096", "BatchNorm1d", "ReLU", "Linear 256", "BatchNorm1d"]
        assert (head[1].affine, head[3].bias, head[4].affine) == (True, None, False)
