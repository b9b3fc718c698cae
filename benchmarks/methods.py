"""Time of a training step of every method against SimCLR's, per source image, views included.

    python benchmarks/methods.py [--methods all] [--steps 12] [--rounds 7] [--size 24]

All methods take turns in one process, a round each, on the cpu preset's network, batch, optimiser and precision, in a state of
mid-run: past their warm-up, with memories filled, with images of the pool in the batch. What happens once an epoch or a
refresh (masks, clusterings, samplings) is timed apart and printed in seconds.
"""

import sys
import time
from dataclasses import fields
from itertools import chain, count, islice
from pathlib import Path
from statistics import median
from typing import Annotated

import torch
from cyclopts import App, Parameter

sys.path.insert(0, str(Path(__file__).parent.parent))

from methods import METHODS
from training.config import resolve
from training.device import choose_device, choose_precision, synchronize
from training.loop import batches, start_epoch, step
from training.prepare import Training, prepare

app = App()


@app.default
def main(
    *,
    methods: Annotated[list[str] | None, Parameter(help="names or globs; default: all and the combinations")] = None,
    steps: Annotated[int, Parameter(help="steps a round")] = 12,
    rounds: Annotated[int, Parameter(help="rounds of each method")] = 7,
    size: Annotated[int, Parameter(help="side of the views in px")] = 24,
    images: Annotated[int, Parameter(help="random images in the set")] = 11_165,
) -> None:
    """Times every method in turn and prints medians and ratios."""
    names = ["simclr", *(name for name in METHODS.select(methods or ["*"]) if name != "simclr")]
    device = choose_device("auto")
    pixels = torch.randint(256, (images, 3, 32, 32), dtype=torch.uint8)
    between, runs = {}, {}
    for name in names:
        training = _mid_run(name, pixels, size, device)
        started = time.perf_counter()
        start_epoch(training, 1)
        synchronize(device)
        between[name] = time.perf_counter() - started
        training.method.train()
        runs[name] = (training, chain.from_iterable(batches(training, 1) for _ in count()))
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(rounds + 1):  # the first round warms up
        for name, (training, stream) in runs.items():
            started, seen = time.perf_counter(), 0
            for batch in islice(stream, steps):
                step(training, batch, 1)
                seen += len(batch.index)
            synchronize(device)
            seconds[name].append((time.perf_counter() - started) / seen)
    base = median(seconds["simclr"][1:])
    print(
        f"{training.config.recipe.backbone}, batch {training.config.recipe.batch_size}, {training.config.precision}, {size} px"
    )
    for name in names:
        each = median(seconds[name][1:])
        print(f"{name:12} {1 / each:7.0f} images/s, {each / base:.3f} of SimCLR's time; between epochs {between[name]:.2f} s")


def _mid_run(name: str, pixels: torch.Tensor, size: int, device: torch.device) -> Training:
    """A method after some steps, past its warm-up."""
    has = {field.name for field in fields(METHODS[name].Hparams)}
    config = resolve(
        method=name,
        dataset="cifar10lt",
        preset="cpu",
        precision=choose_precision("auto", "cpu", device),
        recipe_changes={"epochs": 2, "sizes": str(size)},
        hparam_changes={key: "0" for key in ("warmup", "ramp") if key in has},
    )
    training = prepare(config, pixels, device, pool=pixels.numpy())
    start_epoch(training, 0)
    training.method.train()
    for batch in islice(batches(training, 0), 20):
        step(training, batch, 1)
    return training


if __name__ == "__main__":
    app()
