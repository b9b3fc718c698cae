"""Contract tests of every registered probe: accuracy, determinism, no use of test labels."""

import dataclasses

import numpy as np
import pytest
import torch
from torch.nn.utils import parameters_to_vector

from eval.probes import PROBES, GeometryResult, bcl
from tests.eval.synthetic_features import gaussian_classes

DRAWN = ("bcl-", "fewshot-curve", "geometry")  # probes whose result depends on the seed, here


@pytest.fixture(scope="module")
def synthetic():
    return gaussian_classes(flip_offset=0.3)


@pytest.fixture(scope="module")
def found(synthetic):
    """Results of every probe at seed 0, with the index lists of all probes."""
    torch.manual_seed(1)
    np.random.seed(1)
    frozen = synthetic.frozen()
    return {name: probe().run(frozen, seed=0) for name, probe in PROBES}


def same(one, other):
    if isinstance(one, GeometryResult):
        return one == other
    pairs = [(getattr(one, field.name), getattr(other, field.name)) for field in dataclasses.fields(one)]
    return all(np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b for a, b in pairs)


@pytest.mark.parametrize("name", PROBES.names())
def test_probes_learn(found, synthetic, name):
    result = found[name]
    assert "\n" not in PROBES[name].describe(True) + PROBES[name].describe(False)
    if isinstance(result, GeometryResult):
        return
    assert result.predicted.shape[1:] == synthetic.test_labels.shape
    assert result.predicted.dtype == np.int64
    assert (result.predicted == synthetic.test_labels).mean() > 0.75
    assert (result.val_predicted is None) == (result.val_accuracy is None) == ("val" not in PROBES[name].needs)


@pytest.mark.parametrize("name", PROBES.names())
def test_results_are_bit_identical_for_any_global_random_state(found, synthetic, name):
    torch.manual_seed(2)
    np.random.seed(2)
    probe = PROBES[name]
    assert same(probe().run(synthetic.frozen(feature_lists=probe.feature_lists(synthetic.lists)), seed=0), found[name])


@pytest.mark.parametrize("name", [name for name in PROBES.names() if name.startswith(DRAWN)])
def test_another_seed_gives_another_draw(found, synthetic, name):
    assert not same(PROBES[name]().run(synthetic.frozen(), seed=1), found[name])


def test_bcl_initialises_and_trains_its_head_by_the_seed(synthetic, monkeypatch):
    """On images that are easy to classify two heads predict the same, so the heads themselves are compared."""
    heads = []
    train_head = bcl.train_head
    monkeypatch.setattr(bcl, "train_head", lambda *arguments: heads.append(train_head(*arguments)) or heads[-1])
    for seed in (0, 0, 1):
        PROBES["bcl"]().run(synthetic.frozen(), seed=seed)
    first, again, other = (parameters_to_vector(head.parameters()) for head in heads)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("name", PROBES.names())
def test_predictions_do_not_depend_on_test_labels(found, synthetic, name):
    if isinstance(found[name], GeometryResult):
        return
    relabelled = dataclasses.replace(synthetic, test_labels=synthetic.test_labels[::-1].copy())
    result = PROBES[name]().run(relabelled.frozen(), seed=0)
    assert np.array_equal(result.predicted, found[name].predicted)
    assert result.chosen == found[name].chosen


@pytest.mark.parametrize("name", PROBES.names())
def test_a_class_without_labelled_images_is_not_predicted(synthetic, name):
    labels = np.where(synthetic.labels == 1, 0, synthetic.labels)
    result = PROBES[name]().run(dataclasses.replace(synthetic, labels=labels).frozen(), seed=0)
    if not isinstance(result, GeometryResult):  # heads trained by gradient descent can predict it rarely
        assert (result.predicted == 1).mean() < (0.05 if name.startswith(("bcl", "sdclr")) else 1e-9)
        assert (result.predicted == 2).mean() > 0.2
