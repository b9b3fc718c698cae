"""The kNN probe against a slow loop, and its search in blocks."""

import numpy as np
import pytest
import torch

import eval.features
from eval.features import LabelledFeatures
from eval.probes import PROBES, knn, neighbours
from eval.probes.neighbours import nearest
from tests.eval.synthetic_features import LargestTensor, SyntheticFeatures, gaussian_classes

CPU = torch.device("cpu")


def test_predictions_equal_a_slow_loop():
    made = gaussian_classes()
    train, labels = made.train[:210], made.labels[:210]
    predicted = PROBES["knn"]().run(made.frozen(), seed=0).predicted[0]
    for query, got in zip(made.test, predicted, strict=True):
        similarity = [(torch.dot(query, x) / (query.norm() * x.norm())).item() for x in train]
        first = sorted(range(len(train)), key=lambda i: -similarity[i])[:20]
        votes = [sum(np.exp(similarity[i] / 0.07) for i in first if labels[i] == c) for c in range(3)]
        assert got == int(np.argmax(votes))


@pytest.fixture
def sides():
    stream = torch.Generator().manual_seed(0)
    bank = LabelledFeatures(
        torch.randn(300, 16, generator=stream), torch.arange(299, 9, -1), torch.zeros(290, dtype=torch.int64)
    )
    queries = LabelledFeatures(torch.randn(75, 16, generator=stream), torch.arange(70), torch.zeros(70, dtype=torch.int64))
    return queries, bank


def test_the_block_size_does_not_change_the_result(sides, monkeypatch):
    similarity, place = nearest(*sides, 9, CPU)
    monkeypatch.setattr(eval.features, "BLOCK", 7)  # fewer than k
    monkeypatch.setattr(neighbours, "QUERIES", 11)
    monkeypatch.setattr(neighbours, "HELD", 25)
    in_pieces = nearest(*sides, 9, CPU)
    assert torch.allclose(in_pieces[0], similarity, atol=1e-6)
    assert torch.equal(in_pieces[1], place)
    assert torch.equal(similarity, similarity.sort(dim=1, descending=True).values)


def test_memory_is_bounded_by_the_block_size(sides, monkeypatch):
    monkeypatch.setattr(eval.features, "BLOCK", 32)
    monkeypatch.setattr(neighbours, "QUERIES", 16)
    monkeypatch.setattr(neighbours, "HELD", 30)
    with LargestTensor() as largest:
        nearest(*sides, 3, CPU)
    assert largest.elements <= 32 * 16  # similarities of one block; the bank has 4,640 elements


def test_k_is_limited_by_the_size_of_the_bank(sides):
    queries, bank = sides
    few = LabelledFeatures(bank.bank, bank.index[:4], bank.labels[:4])
    assert nearest(queries, few, 20, CPU)[1].sort(dim=1).values.tolist() == [[0, 1, 2, 3]] * 70


def test_ties_go_to_the_lower_class(monkeypatch):
    made = gaussian_classes()
    monkeypatch.setattr(knn, "K", 2)
    bank = made.train.clone()
    bank[:210] = -made.test[0]
    bank[[3, 7]] = made.test[0]  # its neighbours: the same direction and labels 0 and 1
    labels = made.labels.copy()
    labels[[3, 7]] = [2, 1]
    tied = SyntheticFeatures(bank, labels, made.test, made.test_labels, made.lists, 3)
    assert PROBES["knn"]().run(tied.frozen(), seed=0).predicted[0, 0] == 1


def test_a_zero_feature_gives_no_nan(sides):
    queries, bank = sides
    queries.bank[0] = 0
    similarity, _ = nearest(queries, bank, 5, CPU)
    assert similarity[0].tolist() == [0] * 5
    assert similarity.isfinite().all()
