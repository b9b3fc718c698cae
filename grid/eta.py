"""How long a plan will take, by timing a few steps of each kind of run on this machine."""

import logging
import time
from dataclasses import replace
from itertools import islice

import numpy as np
import torch

from data.benchmark import BENCHMARKS
from data.corpus import BATCH
from grid.plan import Plan
from grid.store import RunFolder
from training.checkpoint import read_checkpoint
from training.config import RunConfig
from training.device import wait_for
from training.loop import batches, step
from training.prepare import Training, autocast, prepare

log = logging.getLogger(__name__)

STEPS = 3  # timed steps of each view size, after one to warm up
CPU_BATCH = 128  # images a timed step on a processor: from there on a step's time is proportional to its images
POOL = 10**9  # images that a method may believe to draw on; one image, repeated without memory
PROBE_SECONDS = 2e-4  # what the probes themselves take an image, after the features are extracted


def estimate(plan: Plan) -> str:
    """Wall time of the plan's unfinished runs, for people. Times random images; writes and downloads nothing."""
    total = 0.0
    timed: dict[str, tuple[list[float], float] | None] = {}
    for run, state in zip(plan.runs, plan.states, strict=True):
        if state == "DONE":
            continue
        config = run.config
        key = replace(config, split=1, seed=0).run_id
        if key not in timed:
            timed[key] = _try_to_time(config, plan.device)
        seconds = timed[key]
        if seconds is not None:
            epochs, probing = seconds
            total += sum(epochs[_epochs_done(run) :]) + probing
    unknown = sum(seconds is None for seconds in timed.values())
    return clock(total) + (f", and {unknown} kinds of runs that failed to be timed" if unknown else "")


def clock(seconds: float) -> str:
    """A duration for people: `45 s`, `5 min`, `2 h 10 min`, `3 d 4 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} d {hours % 24} h"


def _try_to_time(config: RunConfig, device: torch.device) -> tuple[list[float], float] | None:
    """What `_time_run` returns, or None: a method that fails here will fail, and be reported, as a run."""
    try:
        return _time_run(config, device)
    except Exception as error:  # whatever a method's code can raise
        log.warning("no estimate for %s: %s: %s", config.method, type(error).__name__, error)
        return None


def _time_run(config: RunConfig, device: torch.device) -> tuple[list[float], float]:
    """Seconds of each epoch of a run of this configuration, without what a method does between epochs; and of probing it."""
    benchmark, recipe = BENCHMARKS[config.dataset], config.recipe
    batch = recipe.batch_size if device.type == "cuda" else min(recipe.batch_size, CPU_BATCH)
    side = benchmark.image_size
    pixels = torch.randint(256, (batch * (1 + STEPS), 3, side, side), dtype=torch.uint8)

    pool = np.broadcast_to(np.zeros((3, side, side), dtype=np.uint8), (POOL, 3, side, side))
    whole = prepare(config, pixels, device)
    sizes = [whole.size(epoch) for epoch in range(recipe.epochs)]
    per_image = {}
    for size in set(sizes):
        small = replace(config, recipe=replace(recipe, batch_size=batch, sizes=(size,)))
        per_image[size] = _seconds_per_image(prepare(small, pixels, device, pool=pool))
    samples = benchmark.profiles[config.profile].size
    epochs = [(samples + whole.method.extra_images(e)) * per_image[size] for e, size in enumerate(sizes)]

    network = whole.method.backbone.eval()
    x = torch.zeros(BATCH, 3, side, side, device=device).contiguous(memory_format=torch.channels_last)
    with torch.no_grad(), autocast(device, config.precision):
        network(x)
        wait_for(device)
        started = time.monotonic()
        network(x)
        wait_for(device)
    probing = PROBE_SECONDS + (time.monotonic() - started) / BATCH
    return epochs, probing * benchmark.labelled_images


def _seconds_per_image(training: Training) -> float:
    """Time of a training step over its images, views included."""
    training.method.train()
    started = 0.0
    for number, batch in enumerate(islice(batches(training, training.epochs - 1), 1 + STEPS)):
        if number == 1:
            wait_for(training.device)
            started = time.monotonic()
        step(training, batch, number)
    wait_for(training.device)
    return (time.monotonic() - started) / (STEPS * training.config.recipe.batch_size)


def _epochs_done(run: RunFolder) -> int:
    """Whole epochs that the run has behind it."""
    if run.trained():
        return run.config.recipe.epochs
    if not run.checkpoint.exists():
        return 0
    return read_checkpoint(run.checkpoint, run.config.run_id)["progress"]["epoch"]
