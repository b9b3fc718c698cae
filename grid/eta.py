"""How long a plan will take, by timing a few steps of each kind of run on this machine.

Images are made up: random pixels in memory, or, where a benchmark's images are files, JPEGs of a photograph's size and detail
in a temporary folder, so that reading and decoding are timed too. That a disk may be slower than memory is not.
"""

import logging
import tempfile
import time
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from data.benchmark import BENCHMARKS, Benchmark, NotThere
from data.corpus import BATCH
from data.pictures import Pictures
from data.prefetch import DEPTH
from data.views.executor import ImageSet
from eval.probes import PROBES
from grid.plan import Plan
from grid.store import RunFolder
from grid.there import DataThere
from training.checkpoint import read_checkpoint
from training.config import RunConfig
from training.device import wait_for
from training.loop import batches, step
from training.prepare import Training, prepare

log = logging.getLogger(__name__)

STEPS = 3  # timed steps of each view size, after some to warm up
CPU_BATCH = 128  # images a timed step on a processor: from there on a step's time is proportional to its images
CPU_PICTURES = 16  # the same of photographs, whose many pixels fill a processor sooner
PICTURE = (500, 375)  # width and height of the made-up JPEGs: ImageNet's most frequent
FILES = 16  # how many there are; a batch has them again and again
POOL = 10**9  # images that a method may believe to draw on; one image, repeated without memory
PROBE_SECONDS = 5e-5  # what a probe itself takes an image, after the features are extracted


def estimate(plan: Plan) -> str:
    """Wall time of the plan's unfinished runs, for people. Times random images; writes and downloads nothing."""
    total = 0.0
    timed: dict[str, tuple[list[float], float] | None] = {}
    unknown: dict[str, None] = {}  # benchmarks whose size only lists tell that are not there yet
    for run, state in zip(plan.runs, plan.states, strict=True):
        if state == "DONE":
            continue
        config = run.config
        key = replace(config, split=1, seed=0).run_id
        try:
            counts = _counts(config, plan.there)
        except NotThere:
            unknown[f"{config.dataset} (profile {config.profile})"] = None
            continue
        if key not in timed:
            timed[key] = _try_to_time(config, plan.device, counts)
        seconds = timed[key]
        if seconds is not None:
            epochs, feature = seconds
            probes = run.missing(plan.probes[config.dataset])
            looks = bool(probes) + sum(PROBES[probe].passes for probe in probes)
            total += sum(epochs[_epochs_done(run) :]) + counts[1] * (looks * feature + len(probes) * PROBE_SECONDS)
    failed = sum(seconds is None for seconds in timed.values())
    without = f", without {', '.join(unknown)}: not there yet" if unknown else ""
    return clock(total) + (f", and {failed} kinds of runs that failed to be timed" if failed else "") + without


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


def _try_to_time(config: RunConfig, device: torch.device, counts: tuple[int, int]) -> tuple[list[float], float] | None:
    """What `_time_run` returns, or None: a method that fails here will fail, and be reported, as a run."""
    try:
        with tempfile.TemporaryDirectory() as scratch:
            return _time_run(config, device, counts, Path(scratch))
    except Exception as error:  # whatever a method's code can raise
        log.warning("no estimate for %s: %s: %s", config.method, type(error).__name__, error)
        return None


def _time_run(config: RunConfig, device: torch.device, counts: tuple[int, int], scratch: Path) -> tuple[list[float], float]:
    """Seconds of each epoch of a run of this configuration, without what a method does between epochs; and of a feature."""
    benchmark, recipe = BENCHMARKS[config.dataset](), config.recipe
    samples, _ = counts
    batch = recipe.batch_size
    if device.type != "cuda":
        batch = min(batch, CPU_PICTURES if benchmark.in_files else CPU_BATCH)
    images = _made_up(benchmark, batch * (_warm_up(device) + STEPS), scratch)

    side = min(benchmark.image_size, 32)  # of the pool: beside files its images stay in memory as they are
    pool = np.broadcast_to(np.zeros((3, side, side), dtype=np.uint8), (POOL, 3, side, side))
    whole = prepare(config, images, device)
    sizes = [whole.size(epoch) for epoch in range(recipe.epochs)]
    per_image = {}
    for size in set(sizes):
        small = replace(config, recipe=replace(recipe, batch_size=batch, sizes=(size,)))
        per_image[size] = _seconds_per_image(prepare(small, images, device, pool=pool))
    epochs = [(samples + whole.method.extra_images(e)) * per_image[size] for e, size in enumerate(sizes)]
    return epochs, _seconds_per_feature(whole, images)


def _counts(config: RunConfig, there: DataThere) -> tuple[int, int]:
    """Images of the pretraining set, and images that the probes look at.

    Raises:
        NotThere: lists that alone tell are not there yet.
        UserError: they are damaged or contradictory.
    """
    benchmark = there.benchmark(config.dataset)
    size = benchmark.size(config.profile)
    if size:
        return size, benchmark.labelled_images
    labels, _ = there.labels(config.dataset)
    lists = benchmark.lists(labels, config.profile, config.split)
    return len(lists.pretrain), 2 * len(lists.labelled)  # as many test images, at a guess


def _made_up(benchmark: Benchmark, count: int, scratch: Path) -> ImageSet:
    """Images to take the time with: random ones, or in files (500 x 375 px, about 100 kB) smooth ones with some noise."""
    if not benchmark.in_files:
        return torch.randint(256, (count, 3, benchmark.image_size, benchmark.image_size), dtype=torch.uint8)
    stream = np.random.RandomState(0)
    files = [scratch / f"{number}.jpg" for number in range(FILES)]
    for file in files:
        coarse = Image.fromarray(stream.randint(256, size=(12, 16, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize(PICTURE, Image.Resampling.BICUBIC), dtype=np.float64)
        noisy = (smooth + stream.normal(0, 12, smooth.shape)).clip(0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(file, quality=90)
    return Pictures([files[i % FILES] for i in range(count)])


def _seconds_per_feature(training: Training, images: ImageSet) -> float:
    """Time of passing an image through the frozen network; files are decoded for it."""
    network = training.method.backbone.eval()
    count = min(BATCH, len(images)) if isinstance(images, Pictures) else BATCH
    some = images[torch.arange(count) % len(images)]
    seconds = 0.0
    with torch.no_grad():
        for _ in range(2):  # the first to warm up
            wait_for(training.device)
            started = time.monotonic()
            for _ in training.corpus.embed(network, some):
                pass
            wait_for(training.device)
            seconds = time.monotonic() - started
    return seconds / count


def _seconds_per_image(training: Training) -> float:
    """Time of a training step over its images, views included."""
    training.method.train()
    started, warm_up = 0.0, _warm_up(training.device)
    for number, batch in enumerate(islice(batches(training, training.epochs - 1), warm_up + STEPS)):
        if number == warm_up:
            wait_for(training.device)
            started = time.monotonic()
        step(training, batch, number)
    wait_for(training.device)
    return (time.monotonic() - started) / (STEPS * training.config.recipe.batch_size)


def _warm_up(device: torch.device) -> int:
    """Steps before the clock starts; on a GPU as many more as batches may be made ahead during the first."""
    return 1 + (DEPTH + 1 if device.type == "cuda" else 0)


def _epochs_done(run: RunFolder) -> int:
    """Whole epochs that the run has behind it."""
    if run.trained():
        return run.config.recipe.epochs
    if not run.checkpoint.exists():
        return 0
    return read_checkpoint(run.checkpoint, run.config.run_id)["progress"]["epoch"]
