"""SDCLR's linear probe: schedule, epoch selection, and the exact and cached form."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from backbones.corpus import Corpus
from data.benchmark import Images
from data.image_files import ImageFiles
from data.lists.longtail import IndexLists
from data.views.spec import Evaluation
from data.views.torch_backend import TorchViews
from eval.features import FrozenFeatures
from eval.probes import PROBES, sdclr
from tests.eval.synthetic_features import synthetic_split

NAMES = ["sdclr", "sdclr-1pct", "sdclr-cached", "sdclr-cached-1pct"]
CLASSES = 6


@pytest.fixture
def frozen():
    """Six classes of noisy 8-px images, each with its own colours: 300 training, 60 validation and 120 test images."""
    stream = np.random.RandomState(0)
    colours = stream.randint(60, 200, size=(CLASSES, 3, 1, 1))

    def pictures(labels):
        return (colours[labels] + stream.normal(0, 25, (len(labels), 3, 8, 8))).clip(0, 255).astype(np.uint8)

    labels, test_labels = np.arange(360) % CLASSES, np.arange(120) % CLASSES
    order = np.arange(360)
    lists = IndexLists(order[:100], order[:100], order[:60], order[:300], order[300:])
    images = Images(pictures(labels), labels, pictures(test_labels), test_labels)
    network = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten())
    corpus = Corpus(torch.from_numpy(images.train), TorchViews(()), Evaluation())
    return FrozenFeatures(network, synthetic_split(images, lists, CLASSES), corpus, ("val",))


@pytest.mark.parametrize("name", NAMES)
def test_the_probe_is_accurate_and_bit_identical(frozen, name):
    first, again = (PROBES[name]().run(frozen, seed=0) for _ in range(2))
    assert np.array_equal(first.predicted, again.predicted)
    assert first.predicted.shape == (1, 120)
    assert (first.predicted == frozen.test.labels.numpy()).mean() > 0.8
    assert first.n_train == (60 if "1pct" in name else 300)
    assert first.val_accuracy == pytest.approx(
        100 * (first.val_predicted == frozen.unaugmented(frozen.lists.val).labels.numpy()).mean()
    )


def test_learning_rates_equal_the_reference():
    cifar = [sdclr.CIFAR_FULL.lr(epoch) for epoch in range(1, 31)]
    assert cifar == pytest.approx([30.0] * 9 + [3.0] * 10 + [0.3] * 11)
    files = [sdclr.FILES_FULL.lr(epoch) for epoch in range(1, 31)]
    assert files == pytest.approx([30.0] * 10 + [3.0] * 10 + [0.3] * 10)
    few = [sdclr.CIFAR_FEW.lr(epoch) for epoch in (39, 40, 59, 60, 100)]
    assert few == pytest.approx([30, 3, 3, 0.3, 0.3])


@pytest.mark.parametrize("name", ["sdclr", "sdclr-cached"])
def test_the_first_best_epoch_on_validation_is_tested(frozen, name, monkeypatch):
    """With given validation accuracies, the predictions are those of the head of the best epoch."""
    heads = []

    def accuracy(head, rows, top):
        assert torch.equal(rows.labels, frozen.unaugmented(frozen.lists.val).labels)
        heads.append({key: values.clone() for key, values in head.state_dict().items()})
        return {7: 80.0, 12: 80.0, 20: 79.0}.get(len(heads), 50.0)

    monkeypatch.setattr(sdclr, "_accuracy", accuracy)
    result = PROBES[name]().run(frozen, seed=0)
    assert len(heads) == 30
    assert (result.chosen, result.val_accuracy) == ("epoch 7 of 30", 80.0)
    features, _ = frozen.test[:]
    expected = (features @ heads[6]["weight"].T + heads[6]["bias"]).argmax(dim=1)
    assert np.array_equal(result.predicted[0], expected.numpy())


def test_the_exact_form_augments_every_image_in_every_epoch(frozen, monkeypatch):
    calls = []
    original = FrozenFeatures.augmented_batches
    monkeypatch.setattr(
        FrozenFeatures,
        "augmented_batches",
        lambda self, indices, seed, batch: calls.append((indices, seed, batch)) or original(self, indices, seed, batch),
    )
    PROBES["sdclr"]().run(frozen, seed=0)
    assert len(calls) == 30
    assert len({seed for _, seed, _ in calls}) == 30
    assert len({tuple(indices) for indices, _, _ in calls}) == 30
    for indices, _, batch in calls:
        assert sorted(indices) == frozen.lists.train.tolist()
        assert batch == 128


def test_the_cached_form_rotates_its_augmented_passes(frozen, monkeypatch):
    passes = []
    original = FrozenFeatures.augmented
    monkeypatch.setattr(
        FrozenFeatures, "augmented", lambda self, indices, *place: passes.append(place) or original(self, indices, *place)
    )
    PROBES["sdclr-cached-1pct"]().run(frozen, seed=0)
    assert len(set(passes)) == len(passes) == sdclr.CIFAR_FEW.passes
    two = dataclasses.replace(sdclr.CIFAR_FULL, passes=2)
    batches = sdclr.CachedFullShot().epochs(frozen, 0, two)
    first, second, third = (sorted(x.sum().item() for x, _ in batches(epoch)) for epoch in (1, 2, 3))
    assert sum(first) == pytest.approx(sum(third))
    assert sum(first) != pytest.approx(sum(second), rel=1e-7)


def test_both_forms_have_the_same_first_epoch(frozen):
    """The two differ only in the augmentation of an epoch, not in order, batches, learning rates and initial weights."""
    order = torch.randperm(300, generator=sdclr._stream(0, "order", 1))
    exact = [y for _, y in sdclr.FullShot().epochs(frozen, 0, sdclr.CIFAR_FULL)(1)]
    cached = [y for _, y in sdclr.CachedFullShot().epochs(frozen, 0, sdclr.CIFAR_FULL)(1)]
    assert [len(y) for y in exact] == [128, 128, 44]
    assert torch.equal(torch.cat(exact), torch.cat(cached))
    assert np.array_equal(torch.cat(exact).numpy(), frozen.images.train_labels[frozen.lists.train[order.numpy()]])


def test_image_files_use_the_imagenet_schedule(frozen, monkeypatch):
    used = []
    monkeypatch.setattr(sdclr, "train_head", lambda frozen, batches, n, seed, schedule: used.append(schedule))
    PROBES["sdclr-cached"]().run(frozen, 0)
    frozen.images = dataclasses.replace(frozen.images, train=ImageFiles(list(frozen.images.train)))
    monkeypatch.setattr(FrozenFeatures, "augmented", lambda *_: None)
    PROBES["sdclr-cached"]().run(frozen, 0)
    assert used == [sdclr.CIFAR_FULL, sdclr.FILES_FULL]
    assert (sdclr.FILES_FULL.batch, sdclr.FILES_FULL.top, sdclr.FILES_FULL.check_every) == (512, 5, 2)
    assert (sdclr.FILES_FEW.batch, sdclr.FILES_FEW.top, sdclr.FILES_FEW.check_every) == (512, 5, 10)


def test_top_five_counts_the_class_among_five(frozen):
    validation = frozen.unaugmented(frozen.lists.val)
    head = nn.Linear(12, CLASSES)
    scores = validation[:][0] @ head.weight.T + head.bias
    expected = [label in row.topk(5).indices for row, label in zip(scores, validation.labels, strict=True)]
    assert sdclr._accuracy(head, validation, 5) == pytest.approx(100 * np.mean(expected))


def test_the_protocol_describes_the_schedule():
    text = PROBES["sdclr-cached"].describe(in_files=False)
    assert "1 augmented pass (" in text
    assert "30 epochs, best on validation top-1" in text
    assert "best of every second on validation top-5" in PROBES["sdclr"].describe(in_files=True)
    assert "20 augmented passes in turns" in PROBES["sdclr-cached-1pct"].describe(in_files=False)
