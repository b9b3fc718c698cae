"""Time estimate of a plan, from a few timed steps of each configuration on this machine.

Benchmarks in memory are timed on random pixels, benchmarks of image files on their own files, to include reading and decoding.
"""

import heapq
import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor

from backbones.corpus import Corpus
from core.errors import UserError
from core.terminal import clock
from core.words import counted
from data.benchmark import BENCHMARKS, MissingData
from data.cache import DataCache
from data.image_files import ImageFiles
from data.pools.pool import POOLS
from data.prefetch import DEPTH
from data.views.backend import ImageSet, image_set
from data.views.evaluation import BATCH
from eval.probes import PROBES
from grid.plan import Plan
from run_store.folder import RunFolder
from training.checkpoint import has_checkpoint, read_latest
from training.config import RunConfig
from training.device import synchronize
from training.loop import batches, start_epoch, step
from training.prepare import Training, prepare

log = logging.getLogger(__name__)

STEPS = 3  # timed steps of each view size, after the warm-up
CPU_BATCH = 256  # batch size of a timed step on a CPU, from which on time is proportional to the batch size
CPU_FILES = 16  # the same for image files, which have more pixels
HOOK_SECONDS = 2.0  # limit of timing the epoch hook of a method
POOL = 10**9  # size of the OOD pool of a timed run: one image, broadcast
PROBE_SECONDS = 5e-5  # of a probe per image, after feature extraction


@dataclass(frozen=True)
class Estimate:
    """Estimated time of the unfinished runs of a plan."""

    seconds: Mapping[int, float]  # of each run that could be timed, by its index
    jobs: int  # processes that run in parallel
    untimed: int  # configurations whose timing failed
    missing: Mapping[str, str]  # by benchmark and variant whose files are missing: a line on them

    def order(self, numbers: Iterable[int]) -> list[int]:
        """Starting order of runs: with several processes the longest first, so that all end at about the same time."""
        return sorted(numbers, key=lambda n: -self.seconds.get(n, 0.0)) if self.jobs > 1 else list(numbers)

    def wall_seconds(self) -> float:
        """Wall time in seconds, from the start of the first run to the end of the last one."""
        busy = [0.0] * self.jobs  # when each process finishes its runs so far
        for number in self.order(self.seconds):
            heapq.heapreplace(busy, busy[0] + self.seconds[number])
        return max(busy)

    @property
    def text(self) -> str:
        """The wall time, and what it does not include, as text."""
        failed = f", without {counted(self.untimed, 'configuration')} whose timing failed" if self.untimed else ""
        missing = f", without {', '.join(self.missing)}: files are missing" if self.missing else ""
        if not self.seconds and (failed or missing):
            return "none" + failed + missing
        return clock(self.wall_seconds()) + failed + missing


NO_ESTIMATE = Estimate({}, 1, 0, {})  # of a run of several processes, which cannot be timed by one


def estimate(plan: Plan) -> Estimate:
    """Times a few steps of each configuration. Writes and downloads nothing."""
    seconds: dict[int, float] = {}
    timed: dict[str, tuple[list[float], float] | None] = {}
    missing: dict[str, str] = {}
    for number in plan.unfinished:
        run = plan.runs[number]
        config = run.config
        key = replace(config, split=1, seed=0).run_id
        try:
            counts = _counts(config, plan.data)
            if key not in timed:
                timed[key] = _try_to_time(config, plan, counts)
        except MissingData as error:
            missing.setdefault(f"{config.dataset} (variant {config.variant})", error.line(config.dataset, config.variant))
            continue
        found = timed[key]
        if found is not None:
            epochs, feature = found
            probes = run.missing(plan.probes[config.dataset])
            passes = bool(probes) + sum(PROBES[probe].passes for probe in probes)
            probing = counts[1] * (passes * feature + len(probes) * PROBE_SECONDS)
            seconds[number] = sum(epochs[_epochs_done(run) :]) + probing
    # processes on one GPU, or more processes than cores, do not add throughput
    jobs, threads = plan.parallelism
    if not plan.on_gpus:
        jobs = 1 if plan.device.type == "cuda" else max(1, min(jobs, plan.cores // threads))
    if plan.device.type == "cuda":
        torch.cuda.empty_cache()  # worker processes need it
    return Estimate(seconds, jobs, sum(found is None for found in timed.values()), missing)


def _try_to_time(config: RunConfig, plan: Plan, counts: tuple[int, int]) -> tuple[list[float], float] | None:
    """Returns the result of `_time_run`, or None with a warning if it fails, as the run itself will fail and be reported.

    Raises:
        MissingData: image files are missing.
    """
    count = _batch(config, plan.device) * (_warm_up(plan.device) + STEPS)
    images = _images(config, plan, count)
    try:
        return _time_run(config, plan.device, counts[0], images)
    except Exception as error:  # a method can raise anything
        log.warning("no estimate for %s: %s: %s", config.method, type(error).__name__, error)
        return None


def _time_run(config: RunConfig, device: torch.device, samples: int, images: ImageSet) -> tuple[list[float], float]:
    """Seconds of each epoch of a run on `samples` images, epoch hooks included, and of extracting one feature.

    Args:
        config: of the run.
        device: of the run.
        samples: images of the pretraining set.
        images: for the timed steps.
    """
    benchmark, recipe, batch = BENCHMARKS[config.dataset], config.recipe, _batch(config, device)

    side = min(benchmark.image_size, 32)  # of the OOD images, which are in memory
    pool = np.broadcast_to(np.zeros((3, side, side), dtype=np.uint8), (POOL, 3, side, side))
    whole = prepare(config, images, device)
    sizes = [whole.size(epoch) for epoch in range(recipe.epochs)]
    per_image = {}
    for size in set(sizes):
        small = replace(config, recipe=replace(recipe, batch_size=batch, sizes=(size,)))
        per_image[size] = _seconds_per_image(prepare(small, images, device, pool=pool))
    steps = [(samples + whole.method.extra_images(e)) * per_image[size] for e, size in enumerate(sizes)]
    hparams = dict(config.hparams)
    if "budget" in hparams:  # the OOD pool is larger than the budget, and embedded by the network
        hparams["budget"] = len(images)
    hooks = _hook_seconds(prepare(replace(config, hparams=hparams), images, device, pool=pool[: 2 * len(images)]), samples)
    return [of_steps + of_hook for of_steps, of_hook in zip(steps, hooks, strict=True)], _seconds_per_feature(whole, images)


def _counts(config: RunConfig, data: DataCache) -> tuple[int, int]:
    """Number of images of the pretraining set, and of images that the probes use.

    Raises:
        MissingData: the index lists are missing.
        UserError: the index lists are damaged or contradictory.
    """
    benchmark = data.benchmark(config.dataset)
    size = benchmark.size(config.profile)
    if size:
        return size, benchmark.labelled_images
    labels, _ = data.labels(config.dataset)
    lists = benchmark.lists(labels, config.profile, config.split)
    return len(lists.pretrain), 2 * len(lists.labelled)  # assumes as many test images


def _batch(config: RunConfig, device: torch.device) -> int:
    """Batch size of a timed step."""
    limit = CPU_FILES if BENCHMARKS[config.dataset].in_files else CPU_BATCH
    return config.recipe.batch_size if device.type == "cuda" else min(config.recipe.batch_size, limit)


def _images(config: RunConfig, plan: Plan, count: int) -> ImageSet:
    """Images for the timed steps. Raises MissingData if they are files and missing."""
    size = BENCHMARKS[config.dataset].image_size
    if not BENCHMARKS[config.dataset].in_files:
        return torch.randint(256, (count, 3, size, size), dtype=torch.uint8)
    images = plan.data.load(config.dataset, plan.needs(config.dataset), fetch=False)
    return image_set(images.train[np.linspace(0, len(images.train) - 1, count).astype(np.int64)])


@dataclass(frozen=True)
class _CountingCorpus(Corpus):
    """A corpus that records the calls of `embed`."""

    passes: list[None] = field(default_factory=list)

    def embed(self, *args: Any, **options: Any) -> Iterator[Tensor]:
        self.passes.append(None)
        return super().embed(*args, **options)


def _hook_seconds(training: Training, samples: int) -> list[float]:
    """Seconds of the hook of a method before each epoch of a run on `samples` images, from timing it on few images.

    The time of a hook that embeds all images or its OOD pool is scaled with their number. After `HOOK_SECONDS`, remaining
    epochs are estimated by the mean.
    """
    few = training.corpus
    embedded = len(few.images) + (0 if few.pool is None else len(few.pool))
    name = training.config.hparams.get("pool", "")
    pool = POOLS[name].count if name in POOLS else 0
    found: list[float] = []
    began = time.monotonic()
    while len(found) < training.epochs and time.monotonic() - began < HOOK_SECONDS:
        corpus = _CountingCorpus(**{own.name: getattr(few, own.name) for own in fields(few)})
        started = time.monotonic()
        start_epoch(replace(training, corpus=corpus), len(found))
        synchronize(training.device)
        found.append((time.monotonic() - started) * ((samples + pool) / embedded if corpus.passes else 1))
    return found + [sum(found) / max(len(found), 1)] * (training.epochs - len(found))


def _seconds_per_feature(training: Training, images: ImageSet) -> float:
    """Seconds per image of the forward pass of the frozen network, decoding included."""
    network = training.method.backbone.eval()
    count = min(BATCH, len(images)) if isinstance(images, ImageFiles) else BATCH
    some = images[torch.arange(count) % len(images)]
    seconds = 0.0
    with torch.no_grad():
        for _ in range(2):  # the first is a warm-up
            synchronize(training.device)
            started = time.monotonic()
            for _ in training.corpus.embed(network, some):
                pass
            synchronize(training.device)
            seconds = time.monotonic() - started
    return seconds / count


def _seconds_per_image(training: Training) -> float:
    """Seconds per image of a training step, augmentation included."""
    training.method.train()
    started, warm_up = 0.0, _warm_up(training.device)
    for number, batch in enumerate(islice(batches(training, training.epochs - 1), warm_up + STEPS)):
        if number == warm_up:
            synchronize(training.device)
            started = time.monotonic()
        step(training, batch, number)
    synchronize(training.device)
    return (time.monotonic() - started) / (STEPS * training.config.recipe.batch_size)


def _warm_up(device: torch.device) -> int:
    """Number of warm-up steps; on a GPU, including the batches that are prefetched during the first."""
    return 1 + (DEPTH + 1 if device.type == "cuda" else 0)


def _epochs_done(run: RunFolder) -> int:
    """Number of completed epochs of a run."""
    if run.trained():
        return run.config.recipe.epochs
    if not has_checkpoint(run.checkpoint):
        return 0
    try:
        return read_latest(run.checkpoint, run.config.run_id)[1]["progress"].epoch
    except UserError:  # the run will fail
        return run.config.recipe.epochs
