"""What every registered method must keep, whatever its idea. More is in tests/training/test_method_checks.py."""

import copy
import dataclasses
import json

import numpy as np
import pytest
import torch

import bench
from core.files import write_json
from data.benchmark import BENCHMARKS
from methods import METHODS, Output
from run_store.layout import CONFIG
from run_store.loading import read_config
from tests.runs import EVERY_METHOD, small_config
from training.loop import batches, step
from training.prepare import prepare

SUITE = ("cifar10lt", "cifar100lt", "imagenet100lt", "imagenetlt", "placeslt", "inat18")  # what overrides may name
every_method = pytest.mark.parametrize("name", METHODS.names())


def _training(name: str, images, **recipe):
    return prepare(small_config(name, **recipe), images, torch.device("cpu"), pool=images.repeat(4, 1, 1, 1).numpy())


@every_method
def test_loss_is_finite(name, photographs):
    training = _training(name, photographs)
    training.method.train()
    batch = next(iter(batches(training, 0)))
    output = training.method.loss(batch)
    assert isinstance(output, Output)
    assert output.loss.ndim == 0
    assert output.loss.isfinite()
    assert output.scores.shape == (len(batch.index),)
    assert not output.scores.requires_grad


@every_method
def test_saved_and_loaded_it_takes_the_same_next_step(name, photographs):
    first, second = _training(name, photographs, epochs=4), _training(name, photographs, epochs=4)
    for training in (first, second):
        training.method.train()
    all_batches = list(batches(first, 0))
    step(first, all_batches[0], 0)
    second.method.load_state_dict(first.method.state_dict())
    second.optimizer.load_state_dict(copy.deepcopy(first.optimizer.state_dict()))  # loading alone shares tensors
    losses = [step(training, all_batches[1], 1)[0] for training in (first, second)]
    assert torch.equal(*losses)
    for a, b in zip(first.method.state_dict().values(), second.method.state_dict().values(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("name", EVERY_METHOD)
def test_no_label_reaches_pretraining(name, photographs, tmp_path, monkeypatch):
    """A whole run under permuted labels, with the index lists held fixed: the same loss trace and weights to the last bit."""
    benchmark = BENCHMARKS["digitslt"]
    images = benchmark().load(tmp_path)
    lists = benchmark().lists(images.train_labels, "own", 1)
    monkeypatch.setattr(benchmark, "lists", lambda self, labels, profile, split: lists)
    order = np.random.RandomState(0).permutation(len(images.train_labels))
    pool = tmp_path / "pool.npy"
    np.save(pool, photographs.permute(0, 2, 3, 1).numpy())
    draws = "pool" in {field.name for field in dataclasses.fields(METHODS[name].Hparams)}
    drawn = ["--set", f"{name}.pool=folder:{pool}"] if draws else []
    results = []
    monkeypatch.setattr(bench, "_report", lambda *_: True)  # no part of a run
    for labels in (images.train_labels, images.train_labels[order]):
        given = dataclasses.replace(images, train_labels=labels)
        monkeypatch.setattr(benchmark, "load", lambda self, root, needs=None, *, fetch=True, given=given: given)
        out = tmp_path / str(len(results))
        asked = ["--datasets", "digitslt", "--preset", "smoke", "--methods", name, "--epochs", "2", "--probes", "knn"]
        assert bench.main([*asked, *drawn, "--device", "cpu", "--out", str(out)]) == 0
        (folder,) = out.glob("digitslt-*")
        losses = [json.loads(line)["loss"] for line in (folder / "log.jsonl").read_text().splitlines()]
        accuracy = json.loads((folder / "results.jsonl").read_text())["mean"]
        results.append((losses, (folder / "weights.safetensors").read_bytes(), accuracy))
    (losses, weights, accuracy), (other_losses, other_weights, other_accuracy) = results
    assert losses == other_losses
    assert weights == other_weights
    assert accuracy != other_accuracy  # the labels did change


@every_method
def test_declared_overrides_fit_the_hyper_parameters(name):
    for where, changes in METHODS[name].overrides.items():
        assert where in {*BENCHMARKS.names(), *SUITE, "paper", "cpu", "smoke"}
        assert set(changes) <= {field.name for field in dataclasses.fields(METHODS[name].Hparams)}


@every_method
def test_configuration_survives_json(name, tmp_path):
    config = small_config(name)
    assert config.run_id == small_config(name).run_id != small_config(name, epochs=3).run_id
    write_json(tmp_path / CONFIG, config.to_json())
    read = read_config(tmp_path)
    assert read.to_json() == config.to_json()
    assert read.run_id == config.run_id
    assert type(METHODS[name].Hparams(**read.hparams)) is METHODS[name].Hparams
