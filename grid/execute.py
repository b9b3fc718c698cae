"""Runs a plan: trains what is not trained and has the rest probed."""

import logging
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
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
from grid.plan import Plan
from grid.probing import probe_run
from grid.progress import training_bar
from grid.same_data import warn_of_other_data
from grid.stop import stop_requests
from grid.store import RunFolder, TrainingFacts
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
    warn_of_other_data([run for run, state in zip(plan.runs, plan.states, strict=True) if state == "DONE"], plan.data_root)
    todo = [run for run, state in zip(plan.runs, plan.states, strict=True) if state != "DONE"]
    load = cache(lambda dataset: _load(BENCHMARKS[dataset](), plan.data_root))
    pool = cache(lambda name, size: load_pool(name, size, plan.data_root) if name else None)
    for run in todo:  # before the first run: data that cannot be had is the user's to mend, not a run's failure
        _check_size(run.config, *load(run.config.dataset))
        drawn_on = pool(*_pool_of(run.config))
        if drawn_on is not None:
            check_pool_size(run.config, len(drawn_on.images))
    for number, run in enumerate(todo, start=1):
        log.info("[%d/%d] %s", number, len(todo), run.config.label)
        try:
            _execute_run(run, plan, *load(run.config.dataset), pool(*_pool_of(run.config)), checkpoint_seconds)
        except Exception as error:  # one failed run must not stop the night's grid
            known = isinstance(error, UserError | Diverged)
            reason = str(error) if known else f"{type(error).__name__}: {error}; see {run.error}"
            failed[run.path.name] = reason
            log.error("%s failed: %s", run.config.label, reason)
            with suppress(UserError):  # where even this cannot be written, the reason has been told
                write_text(run.error, traceback.format_exc())
    return failed


def _load(benchmark: Benchmark, data_root: Path) -> tuple[Benchmark, Images]:
    """The images with the object that loaded them: where lists are files, it knows them from then on."""
    return benchmark, benchmark.load(data_root)


def _check_size(config: RunConfig, benchmark: Benchmark, images: Images) -> None:
    """Raises UserError where a batch is larger than a pretraining set whose size only files tell, so only now."""
    if benchmark.profiles[config.profile].size:
        return
    size = len(benchmark.lists(images.train_labels, config.profile, config.split).pretrain)
    if config.recipe.batch_size > size:
        raise UserError(
            f"batch size {config.recipe.batch_size} is larger than {config.dataset}'s {size} images; lower --batch-size"
        )


def _pool_of(config: RunConfig) -> tuple[str | None, int | None]:
    """Name of the pool that a run draws on, if any, and the size of its images; None: as they are, beside pictures in files."""
    benchmark = BENCHMARKS[config.dataset]
    return config.hparams.get("pool") if config.recipe.epochs else None, None if benchmark.in_files else benchmark.image_size


def _execute_run(
    run: RunFolder, plan: Plan, benchmark: Benchmark, images: Images, pool: Pool | None, checkpoint_seconds: float
) -> None:
    run.create()
    with run.lock():
        config = run.config
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
            counts = np.bincount(labels, minlength=len(benchmark.class_names))
            _train(run, training, labels, counts, checkpoint_seconds)
        missing = run.missing(plan.probes[config.dataset])
        probe_run(run, training, images, lists, passport, len(benchmark.class_names), missing)
        run.finish()


def _train(run: RunFolder, training: Training, labels: Indices, counts: NDArray[np.int64], checkpoint_seconds: float) -> None:
    reset_peak_memory(training.device)
    with training_bar(training) as bar, stop_requests() as stop:
        progress = train(training, run.checkpoint, run.log, bar, checkpoint_seconds, stop, _analysis(run, labels, counts))
    device = training.device
    facts = TrainingFacts(
        progress.seconds, progress.images, peak_memory_mb(device), device_name(device), len(progress.unreadable)
    )
    run.save_trained(training.method, facts)


def _analysis(run: RunFolder, labels: Indices, counts: NDArray[np.int64]) -> Callable[[Training], dict[str, Any]]:
    """What is written into the log at the end of each epoch: whether the method finds the tail. The method never sees it."""

    def analyse(training: Training) -> dict[str, Any]:
        state = {name: values.cpu().numpy() for name, values in training.method.sample_state().items()}
        scores = training.tail_scores.all().cpu().numpy()
        run.keep_tail_scores(scores)
        grouping = BENCHMARKS[training.config.dataset].groups
        found = describe_state(state, labels, counts, grouping)
        return {"tail": tail_detection(scores, labels, counts, grouping), **found}

    return analyse
