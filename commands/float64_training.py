"""Training in float64 by one or several processes, for comparison: in float64, differences are not due to rounding."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, multiprocessing

from commands.killed_training import HEAVY
from data.views.backend import Backend
from training.loop import batches, start_epoch, step
from training.prepare import Training


class Double(Backend):
    """Another backend, with views in float64."""

    def __init__(self, backend: Backend):
        super().__init__(backend.views, backend.device)
        self._backend = backend

    def render(self, *arguments: Any) -> tuple[Tensor, ...]:
        return tuple(view.double() for view in self._backend.render(*arguments))

    def evaluate(self, *arguments: Any) -> Tensor:
        return self._backend.evaluate(*arguments).double()


def in_float64(training: Training) -> Training:
    """The run with weights, memories and views in float64."""
    for module in (training.method, training.tail_scores):
        module.double()
    backend = Double(training.loader.backend)
    training.loader.backend = backend
    return replace(training, corpus=replace(training.corpus, backend=backend))


def trained(training: Training) -> dict[str, Tensor]:
    """State of a run by SGD after its last epoch: weights, buffers, memories, momenta of the optimiser, losses."""
    losses = []
    for epoch in range(training.epochs):
        start_epoch(training, epoch)
        training.method.train()
        for number, batch in enumerate(batches(training, epoch), start=training.steps_before[epoch]):
            losses.append(step(training, batch, number)[0])
    momenta = {f"momentum {i}": s["momentum_buffer"] for i, s in training.optimizer.state_dict()["state"].items()}
    return {**training.state.state_dict(), **momenta, "losses": torch.stack(losses)}


def largest_difference(first: dict[str, Tensor], second: dict[str, Tensor]) -> tuple[float, str]:
    """The largest absolute difference of the values of two states, infinite for NaN, and the name of its tensor.

    Equal infinite values differ by 0. Empty tensors are left out.
    """

    def largest(a: Tensor, b: Tensor) -> float:
        return torch.where(a == b, 0.0, (a - b).abs()).nan_to_num(math.inf).max().item()

    return max((largest(first[name].double(), second[name].double()), name) for name in first if first[name].numel())


def by_processes(count: int, folder: Path, function: Callable[..., Any], *arguments: Any) -> list[Any]:
    """Results of `function(*arguments)` in each of several new processes on the CPU that form a group.

    Args:
        count: number of processes.
        folder: empty; for the results.
        function: of a module, so that the processes can import it.
        arguments: of the function.

    Raises:
        ProcessRaisedException: a process ended by an error; with its traceback.
    """
    multiprocessing.get_context("forkserver").set_forkserver_preload(HEAVY)
    given = (count, str(folder), function, arguments)
    multiprocessing.start_processes(_process, given, nprocs=count, start_method="forkserver")
    return [torch.load(folder / f"result{rank}", weights_only=False) for rank in range(count)]


def _process(rank: int, count: int, folder: str, function: Callable[..., Any], arguments: tuple) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=count)
    torch.save(function(*arguments), Path(folder) / f"result{rank}")
    distributed.destroy_process_group()
