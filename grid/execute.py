"""Runs a plan: trains what is not trained, probes what is not probed, records every number."""

import importlib.metadata
import logging
import platform
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from typing import Any

import numpy as np
import torch

from core.errors import UserError
from core.files import write_text
from data.benchmark import BENCHMARKS, Images
from data.longtail import IndexLists, Indices, fingerprint
from data.pools import Pool, load_pool
from eval.features import FeatureSet, extract
from eval.groups import break_down, class_accuracies
from eval.probes import PROBES
from eval.tail import describe_state, tail_detection
from grid.plan import Plan
from grid.progress import probing_bar, training_bar
from grid.stop import stop_requests
from grid.store import RunFolder, TrainingFacts
from reports.records import Record
from training.config import RunConfig
from training.device import device_name, peak_memory_mb, reset_peak_memory
from training.loop import Diverged, train
from training.prepare import Training, autocast, check_pool_size, prepare

log = logging.getLogger(__name__)

PACKAGES = ("torch", "torchvision", "timm", "numpy", "scikit-learn", "pandas")


def execute(plan: Plan, checkpoint_seconds: float) -> dict[str, str]:
    """Runs every run of the plan that is not done, one after the other.

    A run that fails is left behind with its traceback in `error.txt`, and the next one starts.

    Returns:
        Reason by run folder's name, for each run that failed.
    """
    failed = {}
    todo = [run for run, state in zip(plan.runs, plan.states, strict=True) if state != "DONE"]
    load = cache(lambda dataset: BENCHMARKS[dataset]().load(plan.data_root))
    pool = cache(lambda name, size: load_pool(name, size, plan.data_root) if name else None)
    for run in todo:  # before the first run: data that cannot be had is the user's to mend, not a run's failure
        load(run.config.dataset)
        drawn_on = pool(*_pool_of(run.config))
        if drawn_on is not None:
            check_pool_size(run.config, len(drawn_on.images))
    for number, run in enumerate(todo, start=1):
        log.info("[%d/%d] %s", number, len(todo), run.config.label)
        try:
            _execute_run(run, plan, load(run.config.dataset), pool(*_pool_of(run.config)), checkpoint_seconds)
        except Exception as error:  # one failed run must not stop the night's grid
            known = isinstance(error, UserError | Diverged)
            reason = str(error) if known else f"{type(error).__name__}: {error}; see {run.error}"
            failed[run.path.name] = reason
            log.error("%s failed: %s", run.config.label, reason)
            with suppress(UserError):  # where even this cannot be written, the reason has been told
                write_text(run.error, traceback.format_exc())
    return failed


def _pool_of(config: RunConfig) -> tuple[str | None, int]:
    """Name of the pool that a run draws on, if any, and the size of its images."""
    return config.hparams.get("pool") if config.recipe.epochs else None, BENCHMARKS[config.dataset].image_size


def _execute_run(run: RunFolder, plan: Plan, images: Images, pool: Pool | None, checkpoint_seconds: float) -> None:
    run.create()
    with run.lock():
        run.begin(pool.about if pool else None)
        config = run.config
        lists = BENCHMARKS[config.dataset]().lists(images.train_labels, config.profile, config.split)
        labels = images.train_labels[lists.pretrain]
        training = prepare(
            config,
            torch.from_numpy(images.train[lists.pretrain]),
            plan.device,
            pool=None if pool is None else pool.images,
            labels=torch.from_numpy(labels),
        )
        if run.trained():
            run.load_weights(training.method)
        else:
            _train(run, training, labels, checkpoint_seconds)
        missing = run.missing(plan.probes)
        if missing:
            features, seconds = _extract(training, images, lists)
            for probe in missing:
                run.add(_record(run, training, images, lists, features, probe, seconds))
        run.finish()


def _train(run: RunFolder, training: Training, labels: Indices, checkpoint_seconds: float) -> None:
    reset_peak_memory(training.device)
    with training_bar(training) as bar, stop_requests() as stop:
        progress = train(training, run.checkpoint, run.log, bar, checkpoint_seconds, stop, _analysis(run, labels))
    device = training.device
    facts = TrainingFacts(progress.seconds, progress.images, peak_memory_mb(device), device_name(device))
    run.save_trained(training.method, facts)


def _analysis(run: RunFolder, labels: Indices) -> Callable[[Training], dict[str, Any]]:
    """What is written into the log at the end of each epoch: whether the method finds the tail. The method never sees it."""

    def analyse(training: Training) -> dict[str, Any]:
        counts = np.bincount(labels, minlength=len(BENCHMARKS[training.config.dataset].class_names))
        state = {name: values.cpu().numpy() for name, values in training.method.sample_state().items()}
        scores = training.tail_scores.all().cpu().numpy()
        run.keep_tail_scores(scores)
        return {"tail": tail_detection(scores, labels, counts), **describe_state(state, labels, counts)}

    return analyse


def _extract(training: Training, images: Images, lists: IndexLists) -> tuple[FeatureSet, float]:
    """Features of the frozen backbone, and the seconds it took."""
    benchmark = BENCHMARKS[training.config.dataset]
    started = time.monotonic()
    with probing_bar(training.config.label) as report, autocast(training.device, training.config.precision):
        features = extract(
            training.method.backbone, images, lists, benchmark.view, len(benchmark.class_names), training.device, report
        )
    return features, time.monotonic() - started


def _record(
    run: RunFolder,
    training: Training,
    images: Images,
    lists: IndexLists,
    features: FeatureSet,
    probe: str,
    seconds: float,
) -> Record:
    """Runs one probe and writes down what it found."""
    config, recipe, facts = run.config, run.config.recipe, run.training_facts()
    started = time.monotonic()
    result = PROBES[probe]().run(features, config.seed)
    probe_seconds = seconds + time.monotonic() - started
    accuracy = class_accuracies(result.predicted, images.test_labels, features.classes)
    counts = np.bincount(images.train_labels[lists.pretrain], minlength=features.classes)
    tail = run.last_epoch().get("tail", {})
    return Record(
        run_id=config.run_id,
        method=config.method,
        hparams=dict(config.hparams),
        dataset=config.dataset,
        profile=config.profile,
        split=config.split,
        seed=config.seed,
        backbone=recipe.backbone,
        preset=config.preset,
        recipe=config.to_json()["recipe"],
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        precision=config.precision,
        executor=config.executor,
        probe=probe,
        protocol=PROBES[probe].protocol,
        chosen=result.chosen,
        val_accuracy=result.val_accuracy,
        val_class_accuracy=(
            class_accuracies(result.val_predicted, images.train_labels[lists.val], features.classes)
            if result.val_predicted is not None
            else None
        ),
        class_accuracy=accuracy,
        class_counts=counts.tolist(),
        **asdict(break_down(accuracy, counts)),
        grouping="thirds of the classes by training images",
        n_pretrain=len(lists.pretrain),
        n_train=result.n_train,
        n_val=result.n_val,
        n_test=len(images.test_labels),
        pretrain_sha256=fingerprint(lists.pretrain),
        pool=run.pool(),
        tail_auroc=tail.get("auroc"),
        tail_spearman=tail.get("spearman"),
        train_seconds=round(facts.seconds, 2),
        probe_seconds=round(probe_seconds, 2),
        images_per_second=round(facts.images / facts.seconds, 1) if facts.images else None,
        peak_memory_mb=facts.peak_memory_mb and round(facts.peak_memory_mb, 1),
        device=facts.device,
        versions=_versions(),
    )


@cache
def _versions() -> dict[str, str]:
    return {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in PACKAGES}}
