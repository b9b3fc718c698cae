"""TS's probes against slow loops and the notebooks' subset."""

import numpy as np
import pytest
import torch
from sklearn.svm import LinearSVC
from torch.nn import functional as F

from data.lists.longtail import fingerprint
from eval.features import FrozenFeatures
from eval.probes import PROBES
from eval.probes.ts import balanced_subset, majority
from tests.eval.synthetic_features import gaussian_classes

NAMES = ["ts-knn1", "ts-knn10", "ts-longtailed", "ts-fewshot"]


@pytest.mark.parametrize(("name", "k"), [("ts-knn1", 1), ("ts-knn10", 10)])
def test_neighbours_equal_a_slow_loop(name, k):
    made = gaussian_classes(flip_offset=0.5)
    frozen = made.frozen()
    bank = F.normalize(frozen.augmented(made.lists.pretrain, 0, "ts")[:][0], dim=1)
    labels = made.labels[made.lists.pretrain]
    predicted = PROBES[name]().run(frozen, seed=0).predicted[0]
    for query, got in zip(F.normalize(made.test, dim=1), predicted, strict=True):
        distance = [(query - x).norm().item() for x in bank]
        first = sorted(range(len(bank)), key=lambda i: distance[i])[:k]
        assert got == int(np.argmax([sum(labels[i] == c for i in first) for c in range(3)]))


def test_ties_go_to_the_lowest_class():
    votes = np.array([[3, 1, 3, 1], [2, 0, 1, 1], [5, 4, 3, 2], [7, 7, 0, 0], [0, 9, 9, 9]])
    assert majority(votes).tolist() == [1, 1, 2, 0, 9]
    stream = np.random.RandomState(0)
    many = stream.randint(5, size=(300, 10))
    assert majority(many).tolist() == [int(np.argmax(np.bincount(row, minlength=5))) for row in many]


def test_the_balanced_subset_equals_that_of_the_notebook():
    labels = np.array([4, 0, 0, 2, 0, 2, 4, 2, 2, 0, 4, 0])  # classes 1 and 3 do not occur; 4 is the rarest
    np.random.seed(42)
    expected = []
    for c in range(5):
        places = np.where(labels == c)[0]
        np.random.shuffle(places)
        expected += places[:3].tolist()
    assert balanced_subset(labels).tolist() == expected


@pytest.mark.parametrize("in_files", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_only_images_in_memory_are_augmented(monkeypatch, name, in_files):
    made = gaussian_classes()
    calls = []
    for source in ("unaugmented", "augmented"):
        original = getattr(FrozenFeatures, source)

        def record(self, indices, *rest, original=original, source=source):
            calls.append((source, rest, fingerprint(indices)))
            return original(self, indices, *rest)

        monkeypatch.setattr(FrozenFeatures, source, record)
    result = PROBES[name]().run(made.frozen(in_files=in_files), seed=7)
    ((source, rest, indices),) = calls
    assert (source, rest) == (("unaugmented", ()) if in_files else ("augmented", (7, "ts")))
    pretrain = made.lists.pretrain
    few = made.lists.fewshot if in_files else pretrain[balanced_subset(made.labels[pretrain])]
    wanted = few if name == "ts-fewshot" else pretrain
    assert (indices, result.n_train) == (fingerprint(wanted), len(wanted))
    assert (result.predicted.shape, result.val_predicted) == ((1, 150), None)
    assert ("unaugmented" in PROBES[name].describe(in_files)) == in_files


def test_the_svm_is_scikit_learns_on_normalised_features():
    made = gaussian_classes()
    x = F.normalize(made.train[made.lists.pretrain], dim=1).numpy()
    svm = LinearSVC(C=1.0, random_state=42).fit(x, made.labels[made.lists.pretrain])
    result = PROBES["ts-longtailed"]().run(made.frozen(), seed=0)
    assert np.array_equal(result.predicted[0], svm.predict(F.normalize(made.test, dim=1).numpy()))
    assert result.chosen == "nothing"


def test_an_svm_that_does_not_converge_is_reported(monkeypatch):
    monkeypatch.setattr("eval.svm.EVALUATIONS", 3)
    assert PROBES["ts-longtailed"]().run(gaussian_classes().frozen(), seed=0).chosen == "not converged"


def test_predictions_do_not_depend_on_feature_norms():
    made = gaussian_classes()
    lengths = torch.linspace(0.5, 20, len(made.train))[:, None]
    longer = type(made)(made.train * lengths, made.labels, made.test * 3, made.test_labels, made.lists, 3)
    for name in NAMES:
        a, b = (PROBES[name]().run(data.frozen(), seed=0).predicted for data in (made, longer))
        assert (a == b).mean() > 0.99, name  # except ties from rounding
