import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from data.corpus import Corpus
from data.lists.longtail import IndexLists
from data.lists.own import ListedLists
from data.views.spec import Evaluation
from data.views.torch_executor import TorchViews
from eval import probes
from eval.features import FeatureSet, extract
from eval.probes import PROBES


@pytest.fixture
def features():
    """Three overlapping clouds in eight dimensions: 300 training images (200 train, 100 val), 150 test images."""
    stream = np.random.RandomState(0)
    centres = stream.randn(3, 8)
    labels, test_labels = np.arange(300) % 3, np.arange(150) % 3

    def cloud(y):
        return torch.from_numpy(centres[y] + 0.6 * stream.randn(len(y), 8)).float()

    order = np.arange(300)
    lists = ListedLists(order[:100], order[:100], order[:30], order[:200], order[200:], shot100=order[:50])
    return FeatureSet(cloud(labels), torch.from_numpy(labels), cloud(test_labels), torch.from_numpy(test_labels), lists, 3)


@pytest.mark.parametrize("name", PROBES.names())
def test_probes_learn_and_repeat_to_the_last_bit(features, name):
    first, again = (PROBES[name]().run(features, seed=0) for _ in range(2))
    assert np.array_equal(first.predicted, again.predicted)
    assert (first.predicted == features.test_labels.numpy()).mean() > 0.75
    assert first.n_val == (0 if name == "knn" else 100)


@pytest.mark.parametrize("name", PROBES.names())
def test_test_labels_change_nothing_that_a_probe_does(features, name):
    shuffled = dataclasses.replace(features, test_labels=features.test_labels.flip(0))
    a, b = PROBES[name]().run(features, 0), PROBES[name]().run(shuffled, 0)
    assert np.array_equal(a.predicted, b.predicted)
    assert a.chosen == b.chosen


def test_sdclr_takes_the_first_epoch_that_is_best_on_validation(features, monkeypatch):
    """Validation accuracies are dictated: the predictions must be those of the epoch they favour, and of no other."""
    told, predictions = [], []
    original = probes._predict

    def predict(head, x):
        if len(x) == len(features.test):
            predictions.append(original(head, x).numpy())
        return original(head, x)

    def accuracy(head, x, y):
        assert torch.equal(y, features.train_labels[200:])
        predict(head, features.test)  # what would be reported if this epoch were taken
        told.append({7: 80.0, 12: 80.0, 20: 79.0}.get(len(told) + 1, 50.0))
        return told[-1]

    monkeypatch.setattr(probes, "_predict", predict)
    monkeypatch.setattr(probes, "_accuracy", accuracy)
    result = PROBES["sdclr-cached"]().run(features, seed=0)
    assert len(told) == 30
    assert (result.chosen, result.val_accuracy) == ("epoch 7 of 30", 80.0)
    # epoch 1 was best so far and predicted once more: its extra entry, and epoch 7's own, come before later epochs
    assert np.array_equal(result.predicted, predictions[7])
    assert result.n_train == 200


def test_probes_never_look_at_images_outside_their_lists(features):
    """Rows of other images are NaN in a feature set; one look would spoil the weights."""
    train = features.train.clone()
    keep = np.concatenate([features.lists.train[:50], features.lists.val, features.lists.fewshot])
    train[~torch.isin(torch.arange(300), torch.from_numpy(keep))] = torch.nan
    lists = dataclasses.replace(features.lists, train=features.lists.train[:50])
    for name in PROBES.names():
        result = PROBES[name]().run(dataclasses.replace(features, train=train, lists=lists), seed=0)
        assert (result.predicted == features.test_labels.numpy()).mean() > 0.6, name


def test_knn_equals_a_slow_loop(features):
    predicted = PROBES["knn"]().run(features, seed=0).predicted
    bank, labels = features.rows(features.lists.train)
    for query, got in zip(features.test, predicted, strict=True):
        similarity = [(torch.dot(query, x) / (query.norm() * x.norm())).item() for x in bank]
        nearest = sorted(range(len(bank)), key=lambda i: -similarity[i])[:20]
        votes = [sum(np.exp(similarity[i] / 0.07) for i in nearest if labels[i] == c) for c in range(3)]
        assert got == int(np.argmax(votes))


def test_features_are_of_the_normalised_images_in_eval_mode(photographs):
    from data.benchmark import Images

    view = Evaluation()
    pixels, labels = photographs.numpy(), np.zeros(len(photographs), dtype=np.int64)
    order = np.arange(100)
    lists = IndexLists(order, order, order[:5], order[:60], order[60:90])
    network = nn.Sequential(nn.BatchNorm2d(3), nn.AdaptiveAvgPool2d(1), nn.Flatten()).train()
    seen = []
    images, corpus = Images(pixels[:200], labels[:200], pixels[200:], labels[200:]), Corpus(photographs, TorchViews(()), view)
    found = extract(network, images, lists, corpus, 1, lambda done, total: seen.append((done, total)))
    mean = (photographs.float() / 255).mean(dim=(2, 3))
    expected = (mean - torch.tensor(view.mean)) / torch.tensor(view.std)  # the norm's running statistics are 0 and 1
    assert torch.allclose(found.train[:90], expected[:90], atol=1e-4)
    assert torch.allclose(found.test, expected[200:], atol=1e-4)
    assert found.train[90:].isnan().all()
    assert seen[-1] == (90 + 56, 90 + 56)
