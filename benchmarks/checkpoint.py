"""Time of a checkpoint of every method, as a share of the training time between two checkpoints.

    python benchmarks/checkpoint.py [--methods all] [--dataset cifar10lt] [--rounds 5] [--seconds 60]

Networks and optimiser are those of the papers' protocol. Training waits only for a copy of the state; a thread writes it to the
disk. The processor time is that of both, on one core. Medians of the rounds.
"""

import sys
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Annotated

import torch
from cyclopts import App, Parameter
from torch import nn

sys.path.insert(0, str(Path(__file__).parent.parent))

from methods import METHODS
from methods.memory import SampleMemory
from training.checkpoint import Progress
from training.checkpoint_writer import CheckpointWriter
from training.config import resolve
from training.device import choose_device, synchronize
from training.optimizer import build_optimizer
from training.prepare import build_method

app = App()


@app.default
def main(
    *,
    methods: Annotated[list[str] | None, Parameter(help="names or globs; default: all and the combinations")] = None,
    dataset: Annotated[str, Parameter(help="benchmark whose recipe is used")] = "cifar10lt",
    rounds: Annotated[int, Parameter(help="checkpoints of each method")] = 5,
    seconds: Annotated[float, Parameter(help="between two checkpoints")] = 60.0,
    images: Annotated[int, Parameter(help="in the pretraining set, for the memory of each image")] = 115_846,
    folder: Annotated[Path | None, Parameter(help="on the disk to measure; default: that of temporary files")] = None,
) -> None:
    """Prints a line per method: size, and seconds and shares of a checkpoint."""
    device = choose_device("auto")
    print(f"papers' protocol on {dataset}, {device}; shares of {seconds:g} s")
    for name in METHODS.select(methods or ["*"]):
        state, optimizer = _trained(name, dataset, images, device)
        times = []
        with TemporaryDirectory(dir=folder) as scratch:
            path = Path(scratch) / "checkpoint.pt"
            with CheckpointWriter(path, "0" * 12, state, optimizer, device) as writer:
                for _ in range(rounds + 1):  # the first one allocates the memory of the copy
                    started, busy = time.perf_counter(), time.process_time()
                    writer.save(Progress())
                    blocked = time.perf_counter() - started
                    writer.wait()
                    times.append((blocked, time.perf_counter() - started, time.process_time() - busy))
            size = path.stat().st_size / 1e6
        blocked, written, busy = (median(column) for column in zip(*times[1:], strict=True))
        print(
            f"{name:12} {size:4.0f} MB: training waits {1e3 * blocked:4.0f} ms ({blocked / seconds:.2%}), on the disk after "
            f"{written:.2f} s, {busy:.2f} s of processor time ({busy / seconds:.2%})"
        )


def _trained(name: str, dataset: str, images: int, device: torch.device) -> tuple[nn.Module, torch.optim.Optimizer]:
    """State of a method and its optimiser, which has taken a step."""
    config = resolve(
        method=name,
        dataset=dataset,
        preset="paper",
        precision="fp32",
    )
    method = build_method(config, images).to(device).to(memory_format=torch.channels_last)
    optimizer = build_optimizer(method, config.recipe, config.precision)
    for parameter in method.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    synchronize(device)
    return nn.ModuleDict({"method": method, "tail_scores": SampleMemory(images).to(device)}), optimizer


if __name__ == "__main__":
    app()
