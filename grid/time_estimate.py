"""How long a plan will take, by timing a few steps of each kind of run on this machine.

Images are made up: random pixels in memory, or, where a benchmark's images are files, JPEGs of a photograph's size and detail
in a temporary folder, so that reading and decoding are timed too. That a disk may be slower than memory is not.
"""

import heapq
import logging
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from backbones.corpus import Corpus
from data.benchmark import BENCHMARKS, Benchmark, MissingData
from data.cache import DataCache
from data.image_files import ImageFiles
from data.pools.pool import POOLS
from data.prefetch import DEPTH
from data.views.backend import ImageSet
from data.views.evaluation import BATCH
from eval.probes import PROBES
from grid.plan import Plan
from run_store.folder import RunFolder
from training.checkpoint import read_checkpoint
from training.config import RunConfig
from training.device import wait_for
from training.loop import batches, start_epoch, step
from training.prepare import Training, prepare

log = logging.getLogger(__name__)

STEPS = 3  # timed steps of each view size, after some to warm up
CPU_BATCH = 256  # images a timed step on a processor: from there on a step's time is proportional to its images
CPU_PICTURES = 16  # the same of photographs, whose many pixels fill a processor sooner
PICTURE = (500, 375)  # width and height of the made-up JPEGs: ImageNet's most frequent
FILES = 16  # how many there are; a batch has them again and again
HOOK_SECONDS = 2.0  # for timing what a method does between epochs
POOL = 10**9  # images that a method may believe to draw on; one image, repeated without memory
PROBE_SECONDS = 5e-5  # what a probe itself takes an image, after the features are extracted


@dataclass(frozen=True)
class Estimate:
    """How long a plan's unfinished runs will take."""

    seconds: Mapping[int, float]  # of each run by its number, where it could be timed
    jobs: int  # processes that run at a time
    untimed: int  # kinds of runs that failed to be timed
    unknown: Sequence[str]  # benchmarks whose size only lists tell that are not there yet

    def order(self, numbers: Iterable[int]) -> list[int]:
        """In which order to start runs: the longest first where processes share them, so that all end at about one time."""
        return sorted(numbers, key=lambda n: -self.seconds.get(n, 0.0)) if self.jobs > 1 else list(numbers)

    def wall(self) -> float:
        """Seconds from the first run's start to the last one's end."""
        busy = [0.0] * self.jobs  # when each process becomes free
        for number in self.order(self.seconds):
            heapq.heapreplace(busy, busy[0] + self.seconds[number])
        return max(busy)

    @property
    def text(self) -> str:
        """The wall time for people, and what it leaves out."""
        failed = f", and {self.untimed} kinds of runs that failed to be timed" if self.untimed else ""
        return clock(self.wall()) + failed + (f", without {', '.join(self.unknown)}: not there yet" if self.unknown else "")


def estimate(plan: Plan) -> Estimate:
    """Times a few steps of each kind of run, with random images; writes and downloads nothing."""
    seconds: dict[int, float] = {}
    timed: dict[str, tuple[list[float], float] | None] = {}
    unknown: dict[str, None] = {}
    for number in plan.unfinished:
        run = plan.runs[number]
        config = run.config
        key = replace(config, split=1, seed=0).run_id
        try:
            counts = _counts(config, plan.data)
        except MissingData:
            unknown[f"{config.dataset} (profile {config.profile})"] = None
            continue
        if key not in timed:
            timed[key] = _try_to_time(config, plan.device, counts)
        found = timed[key]
        if found is not None:
            epochs, feature = found
            probes = run.missing(plan.probes[config.dataset])
            looks = bool(probes) + sum(PROBES[probe].passes for probe in probes)
            probing = counts[1] * (looks * feature + len(probes) * PROBE_SECONDS)
            seconds[number] = sum(epochs[_epochs_done(run) :]) + probing
    # processes on one GPU, or more of them than cores, take turns
    jobs, threads = plan.shares
    jobs = 1 if plan.device.type == "cuda" else max(1, min(jobs, plan.cores // threads))
    if plan.device.type == "cuda":
        torch.cuda.empty_cache()  # worker processes need it
    return Estimate(seconds, jobs, sum(found is None for found in timed.values()), list(unknown))


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
    """Seconds of each epoch of a run of this configuration, with what a method does before it; and of a feature."""
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
    steps = [(samples + whole.method.extra_images(e)) * per_image[size] for e, size in enumerate(sizes)]
    hparams = dict(config.hparams)
    if "budget" in hparams:  # of images from a pool: the pool has to be larger, and is passed through the network
        hparams["budget"] = len(images)
    hooks = _hook_seconds(prepare(replace(config, hparams=hparams), images, device, pool=pool[: 2 * len(images)]), samples)
    return [of_steps + of_hook for of_steps, of_hook in zip(steps, hooks, strict=True)], _seconds_per_feature(whole, images)


def _counts(config: RunConfig, data: DataCache) -> tuple[int, int]:
    """Images of the pretraining set, and images that the probes look at.

    Raises:
        MissingData: lists that alone tell are not there yet.
        UserError: they are damaged or contradictory.
    """
    benchmark = data.benchmark(config.dataset)
    size = benchmark.size(config.profile)
    if size:
        return size, benchmark.labelled_images
    labels, _ = data.labels(config.dataset)
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
    return ImageFiles([files[i % FILES] for i in range(count)])


@dataclass(frozen=True)
class _Noted(Corpus):
    """A corpus that notes when images are passed through a network."""

    passes: list[None] = field(default_factory=list)

    def embed(self, *args: Any, **options: Any) -> Iterator[Tensor]:
        self.passes.append(None)
        return super().embed(*args, **options)


def _hook_seconds(training: Training, samples: int) -> list[float]:
    """Seconds that a method takes before each epoch of a run on `samples` images, from the same on the few made-up ones.

    The time of a hook that passes all images, or its pool, through the network is proportional to their number. After
    `HOOK_SECONDS` the remaining epochs are taken to cost the mean of those before.
    """
    few = training.corpus
    shown = len(few.images) + (0 if few.pool is None else len(few.pool))
    name = training.config.hparams.get("pool", "")
    pool = POOLS[name].count if name in POOLS else 0
    found: list[float] = []
    began = time.monotonic()
    while len(found) < training.epochs and time.monotonic() - began < HOOK_SECONDS:
        corpus = _Noted(**{own.name: getattr(few, own.name) for own in fields(few)})
        started = time.monotonic()
        start_epoch(replace(training, corpus=corpus), len(found))
        wait_for(training.device)
        found.append((time.monotonic() - started) * ((samples + pool) / shown if corpus.passes else 1))
    return found + [sum(found) / max(len(found), 1)] * (training.epochs - len(found))


def _seconds_per_feature(training: Training, images: ImageSet) -> float:
    """Time of passing an image through the frozen network; files are decoded for it."""
    network = training.method.backbone.eval()
    count = min(BATCH, len(images)) if isinstance(images, ImageFiles) else BATCH
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
