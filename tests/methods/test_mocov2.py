import math

import pytest
import torch
from torch.nn import functional as F

from methods.momentum import cosine_momentum
from tests.baselines import built, cosine, golden_embeddings, golden_queue, largest_difference, layers, objective


def _method():
    method = built("mocov2")
    method.queue = golden_queue()
    return method


def test_loss_and_gradients_equal_the_reference():
    assert largest_difference(_method(), golden_embeddings("p1", "p2", "z1", "z2")) < 1e-12


def test_losses_equal_a_loop_written_from_the_formula():
    method = _method()
    q1, q2, k1, k2 = golden_embeddings("p1", "p2", "z1", "z2").values()
    negatives, tau = method.queue.vectors.clone(), 0.2
    output = objective(method, q1, q2, k1, k2)
    for i in range(len(q1)):
        terms = []
        for q, k in ((q1[i], k2[i]), (q2[i], k1[i])):
            positive = math.exp(cosine(q, k) / tau)
            terms.append(-math.log(positive / (positive + sum(math.exp(cosine(q, n) / tau) for n in negatives))))
        assert output.scores[i].item() == pytest.approx(sum(terms) / 2, abs=1e-12)
    assert output.loss.item() == pytest.approx(output.scores.mean().item(), abs=1e-12)


def test_the_keys_of_the_first_views_are_negatives_of_later_batches_only():
    method = _method()
    before = method.queue.vectors.clone()
    q1, q2, k1, k2 = golden_embeddings("p1", "p2", "z1", "z2").values()
    first = objective(method, q1, q2, k1, k2).loss
    assert torch.equal(method.queue.vectors[: len(k1)], F.normalize(k1, dim=1))
    assert torch.equal(method.queue.vectors[len(k1) :], before[len(k1) :])
    assert objective(method, q1, q2, k1, k2).loss > first  # its own keys are negatives now


def test_keys_follow_the_average_and_get_no_gradient():
    method = built("mocov2", momentum=0.5, final_momentum=0.75)
    views = (torch.randn(6, 3, 16, 16).double(), torch.randn(6, 3, 16, 16).double())
    embeddings = method.encode(views)
    assert [z.requires_grad for z in embeddings] == [True, True, False, False]
    for q, k in zip(embeddings[:2], embeddings[2:], strict=True):
        assert torch.equal(q, k)  # before the first step
    old, expected = method.key_projector[0].weight.clone(), cosine_momentum(0.5, 3, method.scale.steps, 0.75)
    with torch.no_grad():
        method.projector[0].weight += 1
    method.after_step(3)
    assert torch.allclose(method.key_projector[0].weight, old + (1 - expected))
    assert 0.5 < expected < 0.75


def test_the_head_is_that_of_the_reference():
    head = built("mocov2", hidden_dim=2048).projector
    assert layers(head) == ["Linear 2048", "ReLU", "Linear 256"]
