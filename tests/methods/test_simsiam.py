import pytest

from tests.baselines import built, cosine, golden_embeddings, largest_difference, layers, objective


def test_loss_and_gradients_equal_the_reference():
    """Also the absent gradient of the targets; the loss is the reference's plus 1."""
    assert largest_difference(built("simsiam"), golden_embeddings("p1", "p2", "z1", "z2"), shift=1.0) < 1e-12


def test_losses_equal_a_loop_written_from_the_formula():
    p1, p2, z1, z2 = golden_embeddings("p1", "p2", "z1", "z2").values()
    output = objective(built("simsiam"), p1, p2, z1, z2)
    for i in range(len(p1)):
        expected = 1 - (cosine(p1[i], z2[i]) + cosine(p2[i], z1[i])) / 2
        assert output.scores[i].item() == pytest.approx(expected, abs=1e-12)
    assert output.loss.item() == pytest.approx(output.scores.mean().item(), abs=1e-12)


def test_heads_are_those_of_the_reference():
    method = built("simsiam", hidden_dim=2048, out_dim=2048, predictor_dim=512)
    hidden = ["Linear 2048", "BatchNorm1d", "ReLU"]
    assert layers(method.projector) == [*hidden, *hidden, "Linear 2048", "BatchNorm1d"]
    assert not method.projector[-1].affine
    assert layers(method.predictor) == ["Linear 512", "BatchNorm1d", "ReLU", "Linear 2048"]
