"""Training in float64 by one or several processes, for comparison; the processes import this file."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, multiprocessing

from data.views.backend import Backend
from methods import METHODS
from tests.runs import small_config
from training.loop import StepStats, batches, start_epoch, step, train
from training.prepare import Training, prepare

PER_EPOCH = {"warmup": "1", "interval": "1"}
CLUSTERED = {"clusters": "4", "warmup": "1"}
HPARAMS: dict[str, dict[str, str]] = {  # everything that a method does happens within two epochs
    "byol": {"hidden_dim": "32"},
    "colt": {**PER_EPOCH, "budget": "30", "clusters": "4"},
    "sdclr+colt": {**PER_EPOCH, "budget": "30", "clusters": "4"},
    "bcl+colt": {**PER_EPOCH, "budget": "30", "clusters": "4"},
    "tase": {**CLUSTERED, "refresh": "1", "ramp": "1"},
    # small crops of 8 px, not 9: rounding of views of an odd side depends on the place of an image in its part of a batch
    "dino": {"small_size": "0.5", "freeze": "1", "tau_warmup": "2", "hidden_dim": "32", "prototypes": "50"},
    "swav": {"small_size": "0.5", "freeze": "1", "queue_start": "1", "hidden_dim": "32", "prototypes": "50"},
}


class Double(Backend):
    """Another backend, with views in float64."""

    def __init__(self, backend: Backend):
        super().__init__(backend.views, backend.device)
        self._backend = backend

    def render(self, *arguments: Any) -> tuple[Tensor, ...]:
        return tuple(view.double() for view in self._backend.render(*arguments))

    def evaluate(self, *arguments: Any) -> Tensor:
        return self._backend.evaluate(*arguments).double()


def prepared(name: str, images: Tensor, batch_size: int = 32, lr: float = 0.05) -> Training:
    """A run of two epochs of 65 images in float64; of three batches of 32, the last has 33."""
    config = small_config(name, hparams=HPARAMS.get(name, {}), optimizer="sgd", lr=lr, batch_size=batch_size)
    training = prepare(config, images[:65], torch.device("cpu"), pool=images[65:165].numpy())
    for module in (training.method, training.tail_scores):
        module.double()
    backend = Double(training.loader.backend)
    training.loader.backend = backend
    return replace(training, corpus=replace(training.corpus, backend=backend))


def trained(name: str, images: Tensor) -> dict[str, Tensor]:
    """State after two epochs: weights, buffers, memories, momenta of the optimiser, losses."""
    training, losses = prepared(name, images), []
    for epoch in range(2):
        start_epoch(training, epoch)
        training.method.train()
        for number, batch in enumerate(batches(training, epoch)):
            losses.append(step(training, batch, training.steps_before[epoch] + number)[0])
    momenta = {f"momentum {i}": s["momentum_buffer"] for i, s in training.optimizer.state_dict()["state"].items()}
    return {**training.state.state_dict(), **momenta, "losses": torch.stack(losses)}


def train_all(images: Tensor) -> dict[str, dict[str, Tensor]]:
    """`trained` for all registered methods."""
    return {name: trained(name, images) for name in METHODS.names()}


def stopped_and_finished(images: Tensor, folder: Path, stop_after: int | None) -> dict[str, Tensor]:
    """State of a SimCLR run of 2 times 22 steps; raises an error after step `stop_after`, if given, as if it were killed."""
    training, steps = prepared("simclr", images, batch_size=3, lr=0.005), 0

    def count(_: StepStats) -> None:
        nonlocal steps
        steps += 1
        if steps == stop_after:
            raise InterruptedError

    train(training, folder / "checkpoint.pt", folder / "log.jsonl", count, checkpoint_seconds=0.0)
    return training.state.state_dict()


def stopped(images: Tensor, folder: Path, stop_after: int) -> None:
    """Starts a run that ends early."""
    with suppress(InterruptedError):
        stopped_and_finished(images, folder, stop_after)


def by_processes(count: int, folder: Path, function: Callable[..., Any], *arguments: Any) -> list[Any]:
    """Results of `function(*arguments)` in each of several processes that form a group."""
    multiprocessing.spawn(_process, (count, str(folder), function, arguments), nprocs=count)
    return [torch.load(folder / f"result{rank}", weights_only=False) for rank in range(count)]


def _process(rank: int, count: int, folder: str, function: Callable[..., Any], arguments: tuple) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=count)
    torch.save(function(*arguments), Path(folder) / f"result{rank}")
    distributed.destroy_process_group()
