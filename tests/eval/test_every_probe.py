"""What holds of every registered probe: it learns, repeats, and looks at nothing it may not."""

import dataclasses

import numpy as np
import pytest
import torch
from torch.nn.utils import parameters_to_vector

from eval.probes import PROBES, GeometryResult, bcl
from tests.eval.frozen import clouds

DRAWN = ("bcl-", "fewshot-curve", "geometry")  # probes whose result depends on the seed, here


@pytest.fixture(scope="module")
def made_up():
    return clouds(jolt=0.3)


@pytest.fixture(scope="module")
def found(made_up):
    """What every probe finds at seed 0, with the lists feature_lists that any probe wants."""
    torch.manual_seed(1)
    np.random.seed(1)
    frozen = made_up.frozen()
    return {name: probe().run(frozen, seed=0) for name, probe in PROBES}


def same(one, other):
    if isinstance(one, GeometryResult):
        return one == other
    pairs = [(getattr(one, field.name), getattr(other, field.name)) for field in dataclasses.fields(one)]
    return all(np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b for a, b in pairs)


@pytest.mark.parametrize("name", PROBES.names())
def test_probes_learn(found, made_up, name):
    result = found[name]
    assert "\n" not in PROBES[name].describe(True) + PROBES[name].describe(False)
    if isinstance(result, GeometryResult):
        return
    assert result.predicted.shape[1:] == made_up.test_labels.shape
    assert result.predicted.dtype == np.int64
    assert (result.predicted == made_up.test_labels).mean() > 0.75
    assert (result.val_predicted is None) == (result.val_accuracy is None) == ("val" not in PROBES[name].needs)


@pytest.mark.parametrize("name", PROBES.names())
def test_a_probe_repeats_to_the_last_bit_alone_and_whatever_was_drawn_before(found, made_up, name):
    torch.manual_seed(2)
    np.random.seed(2)
    probe = PROBES[name]
    assert same(probe().run(made_up.frozen(feature_lists=probe.feature_lists(made_up.lists)), seed=0), found[name])


@pytest.mark.parametrize("name", [name for name in PROBES.names() if name.startswith(DRAWN)])
def test_another_seed_is_another_draw(found, made_up, name):
    assert not same(PROBES[name]().run(made_up.frozen(), seed=1), found[name])


def test_bcl_initialises_and_trains_its_head_by_the_seed(made_up, monkeypatch):
    """On images that are easy to classify two heads predict the same, so the heads themselves are compared."""
    heads = []
    train_head = bcl.train_head
    monkeypatch.setattr(bcl, "train_head", lambda *arguments: heads.append(train_head(*arguments)) or heads[-1])
    for seed in (0, 0, 1):
        PROBES["bcl"]().run(made_up.frozen(), seed=seed)
    first, again, other = (parameters_to_vector(head.parameters()) for head in heads)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("name", PROBES.names())
def test_test_labels_change_nothing_that_is_predicted_or_chosen(found, made_up, name):
    if isinstance(found[name], GeometryResult):
        return
    relabelled = dataclasses.replace(made_up, test_labels=made_up.test_labels[::-1].copy())
    result = PROBES[name]().run(relabelled.frozen(), seed=0)
    assert np.array_equal(result.predicted, found[name].predicted)
    assert result.chosen == found[name].chosen


@pytest.mark.parametrize("name", PROBES.names())
def test_a_class_without_labelled_images_breaks_nothing_and_is_not_predicted(made_up, name):
    labels = np.where(made_up.labels == 1, 0, made_up.labels)
    result = PROBES[name]().run(dataclasses.replace(made_up, labels=labels).frozen(), seed=0)
    if not isinstance(result, GeometryResult):  # a head of gradient descent can stray where it has seen no image
        assert (result.predicted == 1).mean() < (0.05 if name.startswith(("bcl", "sdclr")) else 1e-9)
        assert (result.predicted == 2).mean() > 0.2
