"""Cost of the detection of collapse: one measurement against one training step, and the counters of the loss per step.

    python benchmarks/collapse.py [--method simclr] [--rounds 5]

Cpu preset on random images. Measurement, steps and counters take turns in one process, so that other load affects them
equally; medians are compared.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Annotated

import torch
from cyclopts import App, Parameter

sys.path.insert(0, str(Path(__file__).parent.parent))

from data.benchmark import BENCHMARKS
from training.collapse import TIMES, measure
from training.config import resolve
from training.device import choose_device, choose_precision, synchronize
from training.loop import _LossMeter, batches, step
from training.prepare import prepare

STEPS = 5  # per round
ADDITIONS = 200  # per round

app = App()


@app.default
def main(*, method: str = "simclr", rounds: Annotated[int, Parameter(help="rounds of each part")] = 5) -> None:
    """Times the parts in turn and prints their shares of a run and of a step."""
    device = choose_device("auto")
    config = resolve(
        method=method,
        dataset="cifar10lt",
        preset="cpu",
        precision=choose_precision("auto", "cpu", device),
    )
    count = BENCHMARKS["cifar10lt"]().size(config.profile)
    training = prepare(config, torch.randint(256, (count, 3, 32, 32), dtype=torch.uint8), device)
    training.method.train()
    meter, one = _LossMeter(training, None), torch.ones((), device=device)

    def seconds(part: Callable[[], object]) -> float:
        synchronize(device)
        started = time.perf_counter()
        part()
        synchronize(device)
        return time.perf_counter() - started

    def steps() -> None:
        for number, batch in zip(range(STEPS), batches(training, 0), strict=False):
            step(training, batch, number)

    def additions() -> None:
        for number in range(ADDITIONS):
            meter.add(one, one, config.recipe.batch_size, number)

    parts = ((lambda: measure(training), 1), (steps, STEPS), (additions, ADDITIONS))
    taken = [[seconds(part) / repeats for part, repeats in parts] for _ in range(rounds + 1)][1:]  # the first round warms up
    measurement, step_seconds, addition = map(median, zip(*taken, strict=True))
    share = len(TIMES) * measurement / (training.steps_before[-1] * step_seconds)
    print(f"{method}, {config.recipe.backbone}, {device}")
    print(f"measurement {1e3 * measurement:.0f} ms, step {1e3 * step_seconds:.1f} ms")
    print(f"{len(TIMES)} measurements: {share:.2%} of a run of {training.epochs} epochs")
    print(f"counters: {1e6 * addition:.0f} microseconds, {addition / step_seconds:.3%} of a step")


if __name__ == "__main__":
    app()
