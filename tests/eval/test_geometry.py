"""Geometry against slow loops and closed-form cases."""

import dataclasses
import math

import numpy as np
import pytest
import torch

import eval.features
from eval.features import FrozenFeatures, LabelledFeatures
from eval.probes import PROBES, geometry
from eval.probes.geometry import effective_rank, uniformity
from tests.eval.synthetic_features import LargestTensor, gaussian_classes

CPU = torch.device("cpu")


def rows(x):
    x = torch.as_tensor(x).float()
    return LabelledFeatures(x, torch.arange(len(x)), torch.zeros(len(x), dtype=torch.int64))


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def slow_uniformity(x):
    x = unit(x)
    pairs = [math.exp(-2 * ((x[i] - x[j]) ** 2).sum()) for i in range(len(x)) for j in range(i)]
    return math.log(sum(pairs) / len(pairs))


def slow_rank(x):
    singular = np.linalg.svd(x - x.mean(axis=0), compute_uv=False)
    share = singular / singular.sum()
    return math.exp(-sum(p * math.log(p) for p in share if p > 0))


@pytest.mark.parametrize("block", [13, 4096])
def test_all_and_groups_equal_slow_loops(monkeypatch, block):
    for module in (eval.features, geometry):
        monkeypatch.setattr(module, "BLOCK", block)
    made = gaussian_classes(classes=4, flip_offset=0.5)
    frozen = made.frozen()
    shape = PROBES["geometry"]().run(frozen, seed=0)
    one, two = (frozen.augmented_test(0, "geometry", draw)[:][0].double().numpy() for draw in (1, 2))
    assert 0 < (one != two).any(axis=1).mean() < 1
    x = made.test.double().numpy()
    parts = {
        "all": range(4),
        **{name: group.tolist() for name, group in zip(("many", "medium", "few"), frozen.groups, strict=True)},
    }
    assert len(set(map(len, parts.values()))) > 2
    for name, classes in parts.items():
        which = np.isin(made.test_labels, list(classes))
        distances = [((unit(a) - unit(b)) ** 2).sum() for a, b in zip(one[which], two[which], strict=True)]
        assert shape.alignment[name] == pytest.approx(np.mean(distances), rel=1e-5)
        assert shape.uniformity[name] == pytest.approx(slow_uniformity(x[which]), abs=1e-5)
        assert shape.effective_rank[name] == pytest.approx(slow_rank(x[which]), rel=1e-6)


def test_equal_views_have_alignment_zero_and_the_seed_determines_the_views():
    assert set(PROBES["geometry"]().run(gaussian_classes().frozen(), seed=0).alignment.values()) == {0.0}
    frozen = gaussian_classes(flip_offset=0.5).frozen()
    a, b = (PROBES["geometry"]().run(frozen, seed=seed) for seed in (0, 1))
    assert a.alignment["all"] != b.alignment["all"]
    assert (a.uniformity, a.effective_rank) == (b.uniformity, b.effective_rank)


def test_a_group_without_classes_is_none(monkeypatch):
    made = gaussian_classes()
    frozen = made.frozen()
    monkeypatch.setattr(
        FrozenFeatures, "groups", [np.array([0, 1, 2]), np.array([], dtype=np.int64), np.array([], dtype=np.int64)]
    )
    for found in dataclasses.asdict(PROBES["geometry"]().run(frozen, seed=0)).values():
        assert list(found) == ["all", "many", "medium", "few"]
        assert (found["all"], found["medium"], found["few"]) == (pytest.approx(found["many"]), None, None)


def test_closed_form_cases():
    assert effective_rank(rows(torch.cat([torch.eye(6), -torch.eye(6)]))) == pytest.approx(6)
    line = torch.arange(50.0)[:, None] * torch.arange(1.0, 65) - 7
    assert effective_rank(rows(line)) == pytest.approx(1, abs=1e-9)  # no rank from rounding errors
    pair = rows([[1.0, 0], [0, 5]])
    assert uniformity(pair, [torch.arange(2), torch.arange(1)], CPU) == [pytest.approx(-4), None]
    assert uniformity(rows(torch.ones(30, 4)), [torch.arange(30)], CPU) == [pytest.approx(0, abs=1e-6)]


def test_equal_features_have_no_effective_rank():
    assert effective_rank(rows(torch.full((100, 5), 0.1))) is None
    assert effective_rank(rows(torch.zeros(3, 5))) is None
    assert effective_rank(rows(torch.ones(1, 5))) is None
    assert effective_rank(rows(torch.ones(0, 5))) is None


def test_a_zero_feature_stays_at_the_origin():
    assert uniformity(rows([[0.0, 0], [0, 5]]), [torch.arange(2)], CPU) == [pytest.approx(-2)]


def test_memory_is_bounded_by_the_blocks(monkeypatch):
    for module in (eval.features, geometry):
        monkeypatch.setattr(module, "BLOCK", 16)
    x = rows(torch.randn(400, 10, generator=torch.Generator().manual_seed(0)))
    with LargestTensor() as largest:
        uniformity(x, [torch.arange(400)], CPU)
        effective_rank(x)
    assert largest.elements <= 400  # the mask of a part; all pairs are 160,000, all features 4,000


def test_uniformity_of_a_large_test_set_is_that_of_a_random_subset(monkeypatch):
    made = gaussian_classes()
    whole = PROBES["geometry"]().run(made.frozen(), seed=0)
    monkeypatch.setattr(geometry, "PAIRED", 100)  # of 150
    first, second = (PROBES["geometry"]().run(made.frozen(), seed=0) for _ in range(2))
    assert first.uniformity == second.uniformity != whole.uniformity
    assert first.uniformity == pytest.approx(whole.uniformity, abs=0.3)
    assert (first.alignment, first.effective_rank) == (whole.alignment, whole.effective_rank)
