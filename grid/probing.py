"""Probes what is trained: frozen features once, then a record of every probe that is missing."""

import importlib.metadata
import platform
import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import cache

import numpy as np

from data.benchmark import BENCHMARKS, Images
from data.lists.longtail import IndexLists, fingerprint
from data.passport import Passport
from eval.features import FeatureSet, extract
from eval.groups import RULES, break_down, class_accuracies
from eval.probes import PROBES
from grid.progress import probing_bar
from grid.store import RunFolder
from reports.records import Record
from training.prepare import Training

PACKAGES = ("torch", "torchvision", "timm", "numpy", "scikit-learn", "pandas")


def probe_run(
    run: RunFolder,
    training: Training,
    images: Images,
    lists: IndexLists,
    passport: Passport,
    classes: int,
    probes: Sequence[str],
) -> None:
    """Runs the probes on the run's frozen backbone and keeps a record of each as soon as it is there."""
    if probes:
        features, seconds = _extract(training, images, lists, classes)
        for probe in probes:
            run.add(_record(run, training, images, lists, passport, features, probe, seconds))


def _extract(training: Training, images: Images, lists: IndexLists, classes: int) -> tuple[FeatureSet, float]:
    """Features of the frozen backbone, and the seconds it took."""
    started = time.monotonic()
    with probing_bar(training.config.label) as report:
        features = extract(
            training.method.backbone,
            images,
            lists,
            training.corpus,
            classes,
            report,
        )
    return features, time.monotonic() - started


def _record(
    run: RunFolder,
    training: Training,
    images: Images,
    lists: IndexLists,
    passport: Passport,
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
    val_labels, grouping = images.train_labels[lists.val], BENCHMARKS[config.dataset].groups
    tail = run.last_epoch().get("tail", {})
    return Record(
        run_id=config.run_id,
        method=config.method,
        hparams=dict(config.hparams),
        dataset=config.dataset,
        profile=config.profile,
        split=config.split,
        official_split=passport.official,
        data=passport.line,
        passport=passport.short,
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
            class_accuracies(result.val_predicted, val_labels, features.classes)
            if result.val_predicted is not None and len(np.unique(val_labels)) == features.classes
            else None
        ),
        class_accuracy=accuracy,
        class_counts=counts.tolist(),
        **asdict(break_down(accuracy, counts, grouping)),
        grouping=RULES[grouping],
        n_pretrain=len(lists.pretrain),
        unreadable=facts.unreadable,
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
