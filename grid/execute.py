"""Runs a plan: trains what is not trained and has the rest probed."""

import logging
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from core.errors import UserError
from core.files import write_text
from data.benchmark import BENCHMARKS, Benchmark, Images
from data.lists.longtail import Indices
from data.passport import passport_of
from data.pools.pool import Pool, load_pool
from data.views.executor import image_set
from eval.tail import describe_state, tail_detection
from grid.monitor import KnnMonitor
from grid.plan import Plan
from grid.probing import probe_run
from grid.progress import training_bar
from grid.same_data import warn_of_other_data
from grid.stop import stop_requests
from grid.store import Busy, RunFolder, TrainingFacts
from reports.by_class import save_by_class
from training.config import RunConfig
from training.device import device_name, peak_memory_mb, reset_peak_memory
from training.loop import Diverged, train
from training.prepare import Training, check_pool_size, prepare

log = logging.getLogger(__name__)


def execute(plan: Plan, checkpoint_seconds: float) -> dict[str, str]:
    """Runs every run of the plan that is not done, one after the other.

    A run that fails is left behind with its traceback in `error.txt`, and the next one starts.

    Returns:
        Reason by run folder's name, for each run that failed.
    """
    failed = {}
    there = plan.there
    todo = [run for run, state in zip(plan.runs, plan.states, strict=True) if state != "DONE"]
    pool = cache(lambda name, size: load_pool(name, size, there.root) if name else None)
    for run in todo:  # before the first run: data that cannot be had is the user's to mend, not a run's failure
        dataset = run.config.dataset
        _check_size(run.config, there.benchmark(dataset), there.load(dataset, plan.needs(dataset)))
        drawn_on = pool(*_pool_of(run.config))
        if drawn_on is not None:
            check_pool_size(run.config, len(drawn_on.images))
    warn_of_other_data([run for run, state in zip(plan.runs, plan.states, strict=True) if state == "DONE"], there)
    for number, run in enumerate(todo, start=1):
        log.info("[%d/%d] %s", number, len(todo), run.config.label)
        try:
            _execute_run(run, plan, pool(*_pool_of(run.config)), checkpoint_seconds)
        except Exception as error:  # one failed run must not stop the night's grid
            known = isinstance(error, UserError | Diverged)
            reason = str(error) if known else f"{type(error).__name__}: {error}; see {run.error}"
            failed[run.path.name] = reason
            log.error("%s failed: %s", run.config.label, reason)
            if isinstance(error, Busy):  # the folder is another process's
                continue
            with suppress(UserError):  # where even this cannot be written, the reason has been told
                write_text(run.error, traceback.format_exc())
    return failed


def _check_size(config: RunConfig, benchmark: Benchmark, images: Images) -> None:
    """Raises UserError where there is no such list, or a batch is larger than one whose size only files tell, so only now."""
    size = len(benchmark.lists(images.train_labels, config.profile, config.split).pretrain)
    if config.recipe.batch_size > size:
        raise UserError(
            f"batch size {config.recipe.batch_size} is larger than {config.dataset}'s {size} images; lower --batch-size"
        )


def _pool_of(config: RunConfig) -> tuple[str | None, int | None]:
    """Name of the pool that a run draws on, if any, and the size of its images; None: as they are, beside pictures in files."""
    benchmark = BENCHMARKS[config.dataset]
    return config.hparams.get("pool") if config.recipe.epochs else None, None if benchmark.in_files else benchmark.image_size


def _execute_run(run: RunFolder, plan: Plan, pool: Pool | None, checkpoint_seconds: float) -> None:
    run.create()
    with run.lock():
        config = run.config
        benchmark = plan.there.benchmark(config.dataset)
        images = plan.there.load(config.dataset, plan.needs(config.dataset))
        lists = benchmark.lists(images.train_labels, config.profile, config.split)
        passport = passport_of(benchmark, config.profile, config.split, images.train_labels, lists, images.source)
        run.begin(passport, pool.about if pool else None)
        labels = images.train_labels[lists.pretrain]
        training = prepare(
            config,
            image_set(images.train[lists.pretrain]),
            plan.device,
            pool=None if pool is None else pool.images,
            labels=torch.from_numpy(labels),
        )
        if run.trained():
            run.load_weights(training.method)
        else:
            counts, group_counts = np.array(passport.counts), np.array(passport.deciding)
            monitor = KnnMonitor(images, lists, len(counts), plan.monitor_every) if plan.monitored else None
            _train(run, training, labels, counts, group_counts, monitor, checkpoint_seconds)
        missing = run.missing(plan.probes[config.dataset])
        probe_run(run, training, benchmark, images, lists, passport, missing)
        run.finish()


def _train(
    run: RunFolder,
    training: Training,
    labels: Indices,
    counts: NDArray[np.int64],
    group_counts: NDArray[np.int64],
    monitor: KnnMonitor | None,
    checkpoint_seconds: float,
) -> None:
    reset_peak_memory(training.device)
    tail = _analysis(run, labels, counts, group_counts)

    def analyse(training: Training, epoch: int) -> dict[str, Any]:
        return tail(training) | (monitor(training, epoch) if monitor else {})

    with training_bar(training, lambda: monitor.last if monitor else "") as bar, stop_requests() as stop:
        progress = train(training, run.checkpoint, run.log, bar, checkpoint_seconds, stop, analyse)
    device = training.device
    facts = TrainingFacts(
        progress.seconds, progress.images, peak_memory_mb(device), device_name(device), len(progress.unreadable)
    )
    save_by_class(run.path, _state(training), labels, len(counts))
    run.save_trained(training.method, facts)


def _analysis(
    run: RunFolder, labels: Indices, counts: NDArray[np.int64], group_counts: NDArray[np.int64]
) -> Callable[[Training], dict[str, Any]]:
    """What is written into the log at the end of each epoch: whether the method finds the tail. The method never sees it."""

    def analyse(training: Training) -> dict[str, Any]:
        scores = training.tail_scores.all().cpu().numpy()
        run.keep_tail_scores(scores)
        grouping = BENCHMARKS[training.config.dataset].groups
        found = describe_state(_state(training), labels, counts, grouping, group_counts)
        return {"tail": tail_detection(scores, labels, counts, grouping, group_counts), **found}

    return analyse


def _state(training: Training) -> dict[str, NDArray]:
    """What the method keeps of each image."""
    return {name: values.cpu().numpy() for name, values in training.method.sample_state().items()}
