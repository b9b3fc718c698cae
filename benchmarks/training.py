"""Speed of the training loop against a bare forward, backward and step of the same network on resident tensors.

    python benchmarks/training.py [--method simclr] [--steps 40] [--rounds 5] [--sizes 16,24,32] [--preset paper] [--views dali]

Both sides run a preset's network, batch, optimiser and precision on the same views, on the GPU if there is one; the bare side
has its views ready and does nothing but the method's loss, backward and the optimiser's step. The two take turns in one
process, so that other load affects both equally; what is compared is the median of the rounds. The suite's side includes
views, batches, learning rates, the check for non-finite values, the log, and checks of whether a checkpoint is due.
"""

import sys
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Annotated

import torch
from cyclopts import App, Parameter

sys.path.insert(0, str(Path(__file__).parent.parent))

from backbones.precision import autocast
from data.benchmark import BENCHMARKS
from data.loader import Batch
from data.views.backend import choose_backend
from training.checkpoint import Progress
from training.checkpoint_writer import CheckpointWriter
from training.config import resolve
from training.device import choose_device, choose_precision, device_name, synchronize
from training.loop import batches, train
from training.prepare import Training, prepare
from training.presets import PRESETS

app = App()


@app.default
def main(
    *,
    method: str = "simclr",
    steps: Annotated[int, Parameter(help="steps an epoch")] = 40,
    rounds: Annotated[int, Parameter(help="rounds of each side")] = 5,
    sizes: Annotated[str, Parameter(help="sides of the views in px, an epoch each; default: the preset's")] = "",
    preset: Annotated[str, Parameter(help="preset of network, batch size and optimiser")] = "cpu",
    precision: Annotated[str, Parameter(help="precision of training; default: the preset's")] = "auto",
    views: Annotated[str, Parameter(help="augmentation backend; default: the device's")] = "auto",
    batch: Annotated[int | None, Parameter(help="batch size; default: the preset's")] = None,
) -> None:
    """Times both sides in turn and prints their medians and ratio."""
    device = choose_device("auto")
    precision = choose_precision(precision, preset, device)
    backend, _ = choose_backend(views, in_files=False, device=device)
    sizes = sizes or ",".join(map(str, PRESETS[preset].change(BENCHMARKS["cifar10lt"].recipe).sizes))
    batch_size = {"batch_size": batch} if batch else {}
    config = resolve(
        method=method,
        dataset="cifar10lt",
        preset=preset,
        precision=precision,
        executor=backend,
        recipe_changes={"epochs": len(sizes.split(",")), "sizes": sizes, **batch_size},
    )
    recipe = config.recipe
    images = torch.randint(256, (steps * recipe.batch_size, 3, 32, 32), dtype=torch.uint8)
    bare = prepare(config, images, device)
    ready = [list(batches(bare, epoch)) for epoch in range(recipe.epochs)]
    suite_seconds, bare_seconds, view_seconds = [], [], []
    for _ in range(rounds + 1):  # the first round warms up
        with TemporaryDirectory() as folder:
            training = prepare(config, images, device)
            started = time.perf_counter()
            train(training, Path(folder) / "checkpoint.pt", Path(folder) / "log", lambda step: None, checkpoint_seconds=1e9)
            # the checkpoint at the end is once a run, not once a step
            synchronize(device)
            suite_seconds.append(time.perf_counter() - started - _checkpoint_seconds(training, Path(folder)))
        bare_seconds.append(sum(_bare(bare, epoch) for epoch in ready))
        started = time.perf_counter()
        for epoch in range(recipe.epochs):
            for _ in batches(bare, epoch):
                pass
        synchronize(device)
        view_seconds.append(time.perf_counter() - started)
    total = steps * recipe.epochs
    suite, plain, views = (median(seconds[1:]) / total for seconds in (suite_seconds, bare_seconds, view_seconds))
    name = device_name(device)
    print(f"{method}, {recipe.backbone}, batch {recipe.batch_size}, {precision}, views of {sizes} px by {backend}, {name}")
    print(f"suite {recipe.batch_size / suite:7.0f} images/s ({1e3 * suite:.1f} ms a step)")
    print(f"bare  {recipe.batch_size / plain:7.0f} images/s ({1e3 * plain:.1f} ms a step)")
    print(f"suite over bare {plain / suite:.3f}; making views takes {views / suite:.1%} of a step")


def _bare(training: Training, ready: list[Batch]) -> float:
    """Seconds for loss, backward and optimiser step on views that are already there."""
    training.method.train()
    synchronize(training.device)
    started = time.perf_counter()
    for batch in ready:
        with autocast(training.device, training.config.precision):
            loss = training.method.loss(batch).loss
        training.optimizer.zero_grad()
        loss.backward()
        training.optimizer.step()
    synchronize(training.device)
    return time.perf_counter() - started


def _checkpoint_seconds(training: Training, folder: Path) -> float:
    """Seconds of one checkpoint of this run."""
    started = time.perf_counter()
    with CheckpointWriter(
        folder / "again.pt", training.config.run_id, training.state, training.optimizer, training.device
    ) as writer:
        writer.save(Progress())
    return time.perf_counter() - started


if __name__ == "__main__":
    app()
