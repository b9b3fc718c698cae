"""Training on a GPU against training on the CPU; skipped without a GPU."""

from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from commands.float64_training import largest_difference, trained
from data.views.backend import BACKENDS, Backend
from methods import METHODS
from tests.parallel.runs_in_float64 import HPARAMS, prepared
from tests.runs import small_config
from training.loop import _LossMeter, batches, start_epoch, step, train
from training.prepare import Training, prepare

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
CUDA = torch.device("cuda")


class OnTheCpu(Backend):
    """Another backend, which renders on the CPU: views of a GPU differ by a grey level where rounding does."""

    def __init__(self, backend: Backend, device: torch.device):
        super().__init__(backend.views, device)
        self._backend = backend

    @property
    def input_device(self) -> torch.device:
        return self._backend.device

    def render(self, *arguments) -> tuple[Tensor, ...]:
        return tuple(view.to(self.device) for view in self._backend.render(*arguments))

    def evaluate(self, *arguments) -> Tensor:
        return self._backend.evaluate(*arguments).to(self.device)


@contextmanager
def no_waits():
    """Context in which torch refuses operations that make the CPU wait for the GPU."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def _training(name: str, photographs, precision: str = "fp32", backend: str = "torch") -> Training:
    """A run of two epochs of 65 images."""
    config = small_config(name, hparams=HPARAMS.get(name, {}), precision=precision)
    return prepare(replace(config, executor=backend), photographs[:65], CUDA, pool=photographs[65:165].numpy())


@pytest.mark.parametrize("name", METHODS.names())
def test_state_is_that_of_the_cpu(name, photographs):
    """After two epochs in float64, with the same views."""
    cpu, training = (prepared(name, photographs, device=device) for device in ("cpu", "cuda"))
    backend = OnTheCpu(cpu.loader.backend, CUDA)
    training.loader.backend = backend
    corpus = replace(training.corpus, backend=backend, images=cpu.corpus.images)
    training.loader.images = cpu.loader.images
    gpu = trained(replace(training, corpus=corpus))
    cpu = trained(cpu)
    gpu = {key: value.cpu() for key, value in gpu.items()}
    assert {value.device.type for value in gpu.values()} == {"cpu"}
    difference, tensor = largest_difference(cpu, gpu)
    assert difference < 1e-9, tensor


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
@pytest.mark.parametrize("name", METHODS.names())
def test_steps_do_not_wait_for_the_gpu(name, precision, photographs):
    training = _training(name, photographs, precision)
    meter = _LossMeter(training, None)
    number = 0
    for epoch in range(training.epochs):
        start_epoch(training, epoch)
        training.method.train()
        for position, batch in enumerate(list(batches(training, epoch))):
            if position == 0:  # the first step of an epoch fills caches
                loss, gradient = step(training, batch, number)
                meter.add(loss, gradient, len(batch.index), number)
            else:
                with no_waits():
                    loss, gradient = step(training, batch, number)
                    meter.add(loss, gradient, len(batch.index), number)
            assert loss.isfinite()
            assert gradient.isfinite()
            number += 1


@pytest.mark.parametrize("backend", BACKENDS.names())
def test_a_run_ends_with_every_backend(backend, photographs, tmp_path):
    if reason := BACKENDS[backend].missing_dependency(CUDA):
        pytest.skip(reason)
    training = _training("simclr", photographs, "bf16", backend)
    progress = train(training, tmp_path / "checkpoint.pt", tmp_path / "log.jsonl", lambda stats: None, 1e9)
    assert progress.epoch == training.epochs
    assert all(p.isfinite().all() for p in training.method.parameters())


def test_a_checkpoint_of_the_gpu_is_resumed_on_the_gpu_and_the_cpu(photographs, tmp_path):
    """Weights and the optimiser's state are those that were saved, and training goes on."""

    class Stopped(Exception):
        pass

    def stop_in_the_second_epoch(stats) -> None:
        if stats.epoch == 1:
            raise Stopped

    first = _training("byol", photographs)
    files = tmp_path / "checkpoint.pt", tmp_path / "log.jsonl"
    with pytest.raises(Stopped):
        train(first, *files, stop_in_the_second_epoch, 0.0)
    saved = files[0].read_bytes()
    for device in ("cuda", "cpu"):
        files[0].write_bytes(saved)
        config = small_config("byol", hparams=HPARAMS["byol"])
        again = prepare(config, photographs[:65], torch.device(device))
        assert train(again, *files, lambda stats: None, 1e9).epoch == 2
        assert all(p.isfinite().all() and p.device.type == device for p in again.method.parameters())
