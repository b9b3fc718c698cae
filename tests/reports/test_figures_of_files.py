"""Figures from files in the run folders: t-SNE and quantiles by class."""

import dataclasses
import logging

import numpy as np
import pandas as pd
import pytest
from msgspec.structs import replace

from core.schema import InvalidData
from reports.figures import tsne, write_figures
from reports.figures.agreement import heat_map
from reports.figures.tsne import EMBEDDING, embed, embedding
from run_store.class_quantiles import QUANTILES, load_class_quantiles, save_class_quantiles
from run_store.feature_sample import Sample, draw_sample, load_sample, save_sample
from run_store.history import read_history
from run_store.layout import CLASS_QUANTILES, FEATURE_SAMPLE
from tests.reports.made import COUNTS, made_record

IMAGES = 60


@pytest.fixture
def sample():
    stream = np.random.default_rng(0)
    labels = np.repeat(np.arange(10), IMAGES // 10)
    features = stream.normal(size=(IMAGES, 8)) + 3 * np.eye(10)[labels][:, :8]
    return draw_sample(features, labels, labels // 4, 0)


def _run(tmp_path, record):
    folder = tmp_path / record.run_id
    folder.mkdir(exist_ok=True)
    return dataclasses.replace(read_history(folder), run_id=record.run_id)


def test_a_sample_is_balanced_and_is_of_unit_length():
    labels = np.array([0] * 500 + [1] * 5 + [2] * 100)
    features = np.random.default_rng(0).normal(0, 1000, (len(labels), 4))
    sample = draw_sample(features, labels, np.minimum(labels, 2), 3, size=65)
    assert np.bincount(sample.labels).tolist() == [30, 5, 30]
    assert np.abs(np.linalg.norm(sample.features.astype(np.float64), axis=1) - 1).max() < 1e-3
    assert sample.features.dtype == np.float16
    assert np.array_equal(sample.groups, sample.labels)
    again, other = (draw_sample(features, labels, labels, seed, size=65) for seed in (3, 4))
    assert np.array_equal(sample.features, again.features)
    assert not np.array_equal(sample.features, other.features)
    assert len(draw_sample(features, labels, labels, 0).labels) == len(labels)


def test_a_sample_is_read_back_as_it_was(tmp_path, sample):
    assert load_sample(tmp_path) is None
    save_sample(tmp_path, sample)
    read = load_sample(tmp_path)
    for name in ("features", "labels", "groups"):
        assert np.array_equal(getattr(read, name), getattr(sample, name))


@pytest.mark.parametrize("damage", ["cut", "shape", "nan", "group", "text"])
def test_a_damaged_sample_is_refused(tmp_path, sample, damage):
    features, labels, groups = sample.features.copy(), sample.labels, sample.groups
    if damage == "shape":
        labels = labels[1:]
    if damage == "nan":
        features[0, 0] = np.nan
    if damage == "group":
        groups = groups + np.int8(2)
    save_sample(tmp_path, Sample(features, labels, groups))
    if damage == "cut":
        (tmp_path / FEATURE_SAMPLE).write_bytes((tmp_path / FEATURE_SAMPLE).read_bytes()[:100])
    if damage == "text":
        (tmp_path / FEATURE_SAMPLE).write_text("no archive")
    with pytest.raises(InvalidData, match=FEATURE_SAMPLE):
        load_sample(tmp_path)


def test_an_embedding_is_the_same_again_and_computed_once(tmp_path, sample, monkeypatch):
    first = embedding(tmp_path, sample)
    assert first.shape == (IMAGES, 2)
    assert np.array_equal(first, embed(sample.features))
    monkeypatch.setattr(tsne, "embed", lambda features: pytest.fail("computed again"))
    assert np.array_equal(embedding(tmp_path, sample), first)


@pytest.mark.parametrize("stale", ["other features", "cut", "text"])
def test_a_cache_of_other_features_or_a_damaged_one_is_not_used(tmp_path, sample, monkeypatch, stale):
    monkeypatch.setattr(tsne, "embed", lambda features: features[:, :2].astype(np.float32))
    embedding(tmp_path, sample)
    if stale == "other features":
        sample = dataclasses.replace(sample, features=-sample.features)
    else:
        content = (tmp_path / EMBEDDING).read_bytes()
        (tmp_path / EMBEDDING).write_bytes(content[: len(content) // 2] if stale == "cut" else b"no archive")
    assert np.array_equal(embedding(tmp_path, sample), sample.features[:, :2].astype(np.float32))


def test_tsne_is_plotted_for_runs_with_a_sample(tmp_path, sample, monkeypatch, caplog):
    monkeypatch.setattr(tsne, "embed", lambda features: features[:, :2].astype(np.float32))
    records = [made_record(), made_record("bcl"), made_record("byol"), made_record("byol", seed=1)]
    histories = [_run(tmp_path, record) for record in records]
    save_sample(histories[0].folder, sample)
    (histories[1].folder / FEATURE_SAMPLE).write_text("no archive")
    save_sample(histories[3].folder, sample)
    with caplog.at_level(logging.WARNING):
        drawn = write_figures(records, histories, tmp_path / "figures")
    maps = [one for one in drawn if "features" in one.name]
    assert [one.title for one in maps] == ["Features by class", "Features by group"]
    assert "60 test images" in maps[0].details
    assert "split 1 seed 0, split 1 seed 1" in maps[0].details
    (said,) = caplog.messages
    assert "bcl" in said
    many = [replace(record, class_counts=[9] * 100, group_counts=[9] * 100, class_accuracy=[50.0] * 100) for record in records]
    assert [one for one in write_figures(many, histories, tmp_path / "hundred") if "features-class" in one.name]


def test_quantiles_by_class_are_those_of_its_images(tmp_path):
    assert load_class_quantiles(tmp_path) is None
    labels = np.array([2, 0, 2, 2, 0])
    save_class_quantiles(tmp_path, {"weight": [5.0, 1.0, 6.0, 7.0, 3.0], "cluster": labels}, labels, 4)
    read = load_class_quantiles(tmp_path)
    assert read.counts.tolist() == [2, 0, 3, 0]
    assert set(read.values) == {"weight"}
    assert read.values["weight"][2].tolist() == pytest.approx(np.quantile([5, 6, 7], QUANTILES).tolist())
    assert np.isnan(read.values["weight"][[1, 3]]).all()
    (tmp_path / CLASS_QUANTILES).write_bytes((tmp_path / CLASS_QUANTILES).read_bytes()[:80])
    with pytest.raises(InvalidData, match=CLASS_QUANTILES):
        load_class_quantiles(tmp_path)


def test_quantities_by_class_size_are_plotted_unless_constant(tmp_path, caplog):
    records = [made_record("tase", seed=seed) for seed in range(3)]
    histories = [_run(tmp_path, record) for record in records]
    for record, history in zip(records[:2], histories, strict=False):
        labels = np.repeat(np.arange(10), np.array(record.class_counts) // 5)
        temperature = 0.1 + 0.001 * np.arange(len(labels))
        save_class_quantiles(history.folder, {"temperature": temperature, "weight": np.ones(len(labels))}, labels, len(COUNTS))
    (histories[2].folder / CLASS_QUANTILES).write_text("no archive")
    with caplog.at_level(logging.WARNING):
        drawn = write_figures(records, histories, tmp_path / "figures")
    assert [one.title for one in drawn if "-sizes-" in one.name] == ["Temperature by class size"]
    (said,) = caplog.messages
    assert "tase-1-2" in said


@pytest.mark.parametrize(
    "matrix",
    [
        pd.DataFrame(),
        pd.DataFrame([[1.0, 0.5]], index=["a"], columns=["a", "b"]),
        pd.DataFrame([[1.0, 0.5], [0.5, 1.0]], index=["a", "b"], columns=["b", "a"]),
        pd.DataFrame([[1.0, 2.0], [2.0, 1.0]], index=["a", "b"], columns=["a", "b"]),
        pd.DataFrame([[np.inf]], index=["a"], columns=["a"]),
    ],
)
def test_an_invalid_agreement_matrix_is_refused(matrix):
    with pytest.raises(ValueError, match=r"agreement|between"):
        heat_map(matrix)


def test_an_undefined_tau_is_a_dash():
    figure = heat_map(pd.DataFrame([[1.0, np.nan], [-0.5, 1.0]], index=["a", "$b"], columns=["a", "$b"]))
    assert sorted(text.get_text() for text in figure.axes[0].texts) == sorted(["1.00", "–", "−0.50", "1.00"])
