"""The solver of linear SVMs against scikit-learn's at a tight tolerance."""

import numpy as np
import pytest
import torch
from sklearn.svm import LinearSVC
from torch.nn import functional as F

from eval.features import LabelledFeatures
from eval.svm import fit

CPU = torch.device("cpu")


def _rows(counts: list[int], width: int, noise: float, seed: int = 0) -> LabelledFeatures:
    stream = torch.Generator().manual_seed(seed)
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    centres = torch.randn(len(counts), width, generator=torch.Generator().manual_seed(99))
    # a large common component, as after a ReLU
    features = (torch.randn(len(labels), width, generator=stream) * noise + centres[labels]).relu() * 3
    return LabelledFeatures(features, torch.arange(len(labels)), labels)


@pytest.mark.parametrize("counts", [[300, 100, 30, 10, 3], [6, 6, 6], [400, 4], [1, 1, 50]], ids=str)
@pytest.mark.parametrize("width", [8, 64])
@pytest.mark.parametrize("noise", [0.3, 4.0])
def test_weights_are_those_of_scikit_learn(counts, width, noise):
    rows = _rows(counts, width, noise)
    exact = LinearSVC(tol=1e-10, max_iter=10**6).fit(F.normalize(rows.bank, dim=1).numpy(), rows.labels.numpy())
    theirs = np.concatenate([exact.coef_, exact.intercept_[:, None]], axis=1).T
    if len(counts) == 2:  # scikit-learn has one classifier for two classes
        theirs = np.concatenate([-theirs, theirs], axis=1)
    found = fit(rows, len(counts), CPU)
    assert found.converged
    assert np.abs(found.weight.numpy() - theirs).max() < 1e-3 * np.abs(theirs).max()
    fresh = _rows(counts, width, noise, seed=1)
    same = found.predict(fresh) == exact.predict(F.normalize(fresh.bank, dim=1).numpy())
    assert same.mean() >= 0.99


def test_blocks_do_not_change_the_solution(monkeypatch):
    rows = _rows([500, 50, 5], 16, 1.0)
    whole = fit(rows, 3, CPU)
    monkeypatch.setattr("eval.svm.BLOCK", 37)
    monkeypatch.setattr("eval.svm.ENTRIES", 100)
    assert torch.allclose(fit(rows, 3, CPU).weight, whole.weight, atol=1e-3)


def test_a_class_without_images_is_never_predicted():
    found = fit(_rows([40, 0, 40], 8, 2.0), 3, CPU)
    assert set(found.predict(_rows([200, 200, 200], 8, 4.0))) == {0, 2}


def test_one_class_does_not_affect_another():
    """The joint problem separates: classifiers of one class against the rest are the same when other classes are merged."""
    rows = _rows([60, 30, 10], 12, 1.0)
    merged = LabelledFeatures(rows.bank, rows.index, rows.labels.clamp(max=1))
    assert torch.allclose(fit(rows, 3, CPU).weight[:, 0], fit(merged, 2, CPU).weight[:, 0], atol=1e-3)
