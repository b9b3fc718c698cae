import math

import pytest
import torch
from torch.nn import functional as F

from tests.baselines import built, cosine, golden_embeddings, golden_queue, largest_difference, layers, objective


def _method(**hparams):
    method = built("nnclr", **hparams)
    method.support = golden_queue()
    return method


def test_loss_and_gradients_equal_the_reference():
    """Also the absent gradient of the embeddings whose neighbours are searched."""
    assert largest_difference(_method(), golden_embeddings("p1", "p2", "z1", "z2")) < 1e-12


@pytest.mark.parametrize("tau", [0.1, 0.5])
def test_losses_equal_a_loop_written_from_the_formula(tau):
    method = _method(temperature=tau)
    p1, p2, z1, z2 = golden_embeddings("p1", "p2", "z1", "z2").values()
    support = method.support.vectors.clone()
    output = objective(method, p1, p2, z1, z2)
    for i in range(len(p1)):
        terms = []
        for z, p in ((z1[i], p2), (z2[i], p1)):
            near = max(support, key=lambda row, z=z: cosine(row, z))
            similarities = [math.exp(cosine(near, other) / tau) for other in p]
            terms.append(-math.log(similarities[i] / sum(similarities)))
        assert output.scores[i].item() == pytest.approx(sum(terms) / 2, abs=1e-12)
    assert output.loss.item() == pytest.approx(output.scores.mean().item(), abs=1e-12)


def test_the_first_views_enter_the_support_set_after_the_search():
    method = _method()
    before = method.support.vectors.clone()
    p1, p2, z1, z2 = golden_embeddings("p1", "p2", "z1", "z2").values()
    objective(method, p1, p2, z1, z2)
    assert torch.equal(method.support.vectors[: len(z1)], F.normalize(z1, dim=1))
    assert torch.equal(method.support.vectors[len(z1) :], before[len(z1) :])
    assert torch.equal(method.support.nearest(z1), F.normalize(z1, dim=1))


def test_heads_are_those_of_the_reference():
    method = built("nnclr", hidden_dim=2048, predictor_dim=4096)
    hidden = ["Linear 2048", "BatchNorm1d", "ReLU"]
    assert layers(method.projector) == [*hidden, *hidden, "Linear 256", "BatchNorm1d"]
    assert method.projector[-1].affine
    assert layers(method.predictor) == ["Linear 4096", "BatchNorm1d", "ReLU", "Linear 256"]
