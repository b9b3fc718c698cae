"""The ridge probe and its moments against the closed-form solution."""

import dataclasses

import numpy as np
import pytest
import torch

import eval.features
from eval.features import LabelledFeatures
from eval.moments import moments
from eval.probes import PROBES
from eval.probes.ridge import STRENGTHS, choose, fit
from tests.eval.synthetic_features import LargestTensor, gaussian_classes


def rows(x, y):
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(3))
    bank = torch.empty(x.shape, dtype=torch.float32)
    bank[order] = torch.as_tensor(x).float()
    return LabelledFeatures(bank, order, torch.as_tensor(y))


@pytest.fixture
def data():
    made = gaussian_classes(classes=4, width=6)
    cut = 200
    return rows(made.train[:cut], made.labels[:cut]), rows(made.train[cut:], made.labels[cut:]), made.test


def plain_scores(train, test, strength, classes):
    """Closed-form solution on all images at once."""
    x, y = (part.numpy() for part in train[:])
    x, test = x.astype(np.float64), test.numpy().astype(np.float64)
    mean, std = x.mean(axis=0), x.std(axis=0, ddof=1)
    x, test = (x - mean) / std, (test - mean) / std
    target = np.eye(classes)[y]
    weight = np.linalg.solve(x.T @ x / len(x) + strength * np.eye(x.shape[1]), x.T @ (target - target.mean(axis=0)) / len(x))
    return test @ weight + target.mean(axis=0)


def scores(fitted, test):
    """(S, n, C) scores for each strength."""
    return torch.stack([(test.double() - fitted.mean) @ fitted.weight(strength) for strength in fitted.strengths]) + fitted.bias


@pytest.mark.parametrize("block", [7, 4096])
def test_scores_equal_the_closed_form_at_every_strength(data, monkeypatch, block):
    monkeypatch.setattr(eval.features, "BLOCK", block)
    train, _, test = data
    fitted = fit(train, 4)
    for strength, found, predicted in zip(STRENGTHS, scores(fitted, test), fitted.predict(rows(test, [0] * 200)), strict=True):
        expected = plain_scores(train, test, strength, 4)
        assert np.abs(found.numpy() - expected).max() < 1e-9
        assert np.array_equal(predicted, expected.argmax(axis=1))


def test_ties_on_validation_go_to_the_weakest_strength(data):
    train, validation, test = data
    choice = choose(train, validation, 4)
    x, y = validation[:]
    accuracy = [100 * (plain_scores(train, x, s, 4).argmax(axis=1) == y.numpy()).mean() for s in STRENGTHS]
    assert choice.strength == STRENGTHS[int(np.argmax(accuracy))]
    assert choice.val_accuracy == pytest.approx(max(accuracy))
    expected = plain_scores(train, x, choice.strength, 4).argmax(axis=1)
    assert np.array_equal(choice.val_predicted, expected)
    alone = choice.fit.predict(rows(test, [0] * 200))
    assert np.array_equal(alone[0], plain_scores(train, test, choice.strength, 4).argmax(axis=1))


def test_memory_is_bounded_by_the_block_size(monkeypatch):
    made = gaussian_classes(classes=3, width=20)
    train, validation = rows(made.train[:210], made.labels[:210]), rows(made.train[210:], made.labels[210:])
    monkeypatch.setattr(eval.features, "BLOCK", 30)
    with LargestTensor() as largest:
        choose(train, validation, 3).fit.predict(train)
    assert largest.elements <= len(STRENGTHS) * 90  # classes of the validation images; all the features are 4,200


def test_moments_are_accurate_for_features_far_from_zero():
    x = np.random.RandomState(0).randn(500, 3).astype(np.float32) + np.float32([0, 1000, -3000])
    y = np.arange(500) % 2
    found = moments(rows(x, y), 3)
    x = x.astype(np.float64)
    assert np.allclose(found.mean, x.mean(axis=0), rtol=1e-12, atol=1e-14)
    assert np.allclose(found.covariance, np.cov(x.T, ddof=0), rtol=1e-11, atol=1e-13)
    assert np.allclose(found.class_sums[1], (x - x.mean(axis=0))[y == 1].sum(axis=0), rtol=1e-9, atol=1e-10)
    assert found.class_counts.tolist() == [250, 250, 0]


def test_constant_dimensions_are_ignored(data):
    train, validation, test = data
    widened = [dataclasses.replace(r, bank=torch.cat([r.bank, torch.full((len(r.bank), 1), 0.1)], dim=1)) for r in data[:2]]
    with_it, without = choose(*widened, 4), choose(train, validation, 4)
    assert with_it.strength == without.strength
    assert with_it.fit.weight(with_it.strength)[6].abs().max() == 0
    found, expected = scores(with_it.fit, torch.cat([test, torch.ones(200, 1)], dim=1)), scores(without.fit, test)
    assert (found - expected).abs().max() < 1e-9


def test_one_image_is_enough_and_predicts_its_class():
    one = LabelledFeatures(torch.randn(1, 5), torch.tensor([0]), torch.tensor([2]))
    assert fit(one, 4).predict(one).tolist() == [[2]] * len(STRENGTHS)


def test_a_class_without_images_has_a_score_of_exactly_zero(data):
    train, _, test = data
    found = scores(fit(train, 6), test)
    assert found[..., 4:].abs().max() == 0
    assert found.max(dim=2).values.min() > 0


def test_the_probe_uses_its_index_lists():
    made = gaussian_classes()
    frozen = made.frozen()
    result = PROBES["ridge"]().run(frozen, seed=0)
    choice = choose(frozen.unaugmented(made.lists.train), frozen.unaugmented(made.lists.val), 3)
    assert np.array_equal(result.predicted, choice.fit.predict(frozen.test))
    assert (result.chosen, result.n_train, len(result.val_predicted)) == (f"strength {choice.strength:g}", 210, 90)
