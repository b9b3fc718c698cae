"""What every registered method must keep, whatever its idea."""

import copy
import dataclasses

import pytest
import torch

from data.benchmark import BENCHMARKS, Images
from data.loader import Batch
from methods import METHODS, Output
from tests.runs import small_config
from training.config import RunConfig
from training.loop import batches, prepare, step

every_method = pytest.mark.parametrize("name", METHODS.names())


def _training(name: str, images, **recipe):
    return prepare(small_config(name, **recipe), images, torch.device("cpu"))


@every_method
def test_loss_is_finite_and_reaches_every_trainable_parameter(name, photographs):
    training = _training(name, photographs)
    training.method.train()
    batch = next(iter(batches(training, 0)))
    output = training.method.loss(batch)
    assert isinstance(output, Output)
    assert output.loss.ndim == 0
    assert output.loss.isfinite()
    assert output.scores.shape == (len(batch.index),)
    assert not output.scores.requires_grad
    output.loss.backward()
    without = [n for n, p in training.method.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())]
    assert without == []


@every_method
def test_loss_falls_on_a_fixed_batch(name, photographs):
    training = _training(name, photographs[:64], epochs=30, batch_size=64)
    training.method.train()
    batch = next(iter(batches(training, 0)))
    losses = [step(training, batch, number)[0].item() for number in range(30)]
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])


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


@every_method
def test_no_label_reaches_pretraining(name, tmp_path):
    """The same images under permuted labels: index lists fixed, the loss trace is the same to the last bit."""
    benchmark = BENCHMARKS["digitslt"]()
    images = benchmark.load(tmp_path)
    lists = benchmark.lists(images.train_labels, "own", 1)
    shuffled = images.train_labels[torch.randperm(len(images.train_labels)).numpy()]
    traces = []
    for labels in (images.train_labels, shuffled):
        relabelled = dataclasses.replace(images, train_labels=labels)
        assert isinstance(relabelled, Images)
        training = _training(name, torch.from_numpy(relabelled.train[lists.pretrain]), epochs=1)
        training.method.train()
        traces.append([step(training, batch, n)[0].item() for n, batch in enumerate(batches(training, 0))])
    assert traces[0] == traces[1]
    assert {field.name for field in dataclasses.fields(Batch)} == {"views", "index"}


@every_method
def test_declared_recipes_fit_the_hyper_parameters(name):
    for where, changes in METHODS[name].recipes.items():
        assert where in [*BENCHMARKS.names(), "paper", "cpu", "smoke"]
        assert set(changes) <= {field.name for field in dataclasses.fields(METHODS[name].Hparams)}


@every_method
def test_configuration_survives_json(name):
    config = small_config(name)
    assert isinstance(config, RunConfig)
    assert config.run_id == small_config(name).run_id != small_config(name, epochs=3).run_id
