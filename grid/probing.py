"""Probes what is trained: frozen features once, then a record of every probe that is missing."""

import importlib.metadata
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from core.errors import UserError
from core.seeds import seed_of
from data.benchmark import Benchmark, Grouping, Images
from data.corpus import Corpus
from data.lists.longtail import IndexLists
from data.passport import Passport
from eval.features import Frozen, Tally
from eval.groups import RULES, GroupMeans, break_down, class_accuracies, grouped
from eval.probes import PROBES, ProbeResult, Shape
from grid.progress import probing_bar
from grid.store import RunFolder, TrainingFacts
from reports.records import Finding, Geometry, Record, pack
from reports.samples import draw_sample, save_sample
from training.prepare import Training, build_method

PACKAGES = ("torch", "torchvision", "timm", "numpy", "scikit-learn", "pandas")


def probe_run(
    run: RunFolder,
    training: Training,
    benchmark: Benchmark,
    images: Images,
    lists: IndexLists,
    passport: Passport,
    probes: Sequence[str],
) -> None:
    """Runs the probes on the run's frozen backbone and keeps a record of each as soon as it is there.

    Raises:
        UserError: a picture of the probes cannot be read, or training left the backbone as it began.
    """
    if not probes:
        return
    _refuse_untrained(training)
    config = run.config
    counts = benchmark.group_counts(images.train_labels, config.profile, config.split)
    probe_backbone(
        training.method.backbone,
        training.corpus,
        benchmark,
        images,
        lists,
        counts,
        probes,
        label=config.label,
        seed=config.seed,
        folder=run.path,
        told=facts_of_run(run) | of_data(images, lists, passport, counts, benchmark.groups),
        keep=run.add,
    )


def probe_backbone(
    backbone: nn.Module,
    corpus: Corpus,
    benchmark: Benchmark,
    images: Images,
    lists: IndexLists,
    counts: NDArray[np.int64],
    probes: Sequence[str],
    *,
    label: str,
    seed: int,
    folder: Path,
    told: Mapping[str, Any],
    keep: Callable[[Finding], None],
) -> None:
    """Probes a frozen backbone on one split of a benchmark.

    Args:
        backbone: (B, 3, H, W) to (B, d).
        corpus: shows images to it.
        benchmark: whose images and lists these are.
        images: of the benchmark.
        lists: of the split.
        counts: (C,) that decide the groups.
        probes: names, one or more.
        label: what is probed, for progress.
        seed: of what the probes draw.
        folder: where a sample of the test features is kept, to be drawn.
        told: what every record says beside the probe.
        keep: called with each record as soon as it is there.

    Raises:
        UserError: a picture of the probes cannot be read.
    """
    groups = grouped(counts, benchmark.groups)
    banked = [name for probe in probes for name in PROBES[probe].banked(lists)]
    with probing_bar(label) as bar:
        started = time.monotonic()
        frozen = Frozen(backbone, images, lists, corpus, len(benchmark.class_names), groups, banked, Tally(bar))
        shared = (time.monotonic() - started) / len(probes)
        keep_sample(folder, frozen, seed)
        for probe in probes:
            started = time.monotonic()
            found = PROBES[probe]().run(frozen, seed)
            facts = {
                **told,
                "probe": probe,
                "protocol": PROBES[probe].describe(benchmark.in_files),
                "probe_seconds": round(shared + time.monotonic() - started, 2),
                "n_test": len(images.test_labels),
            }
            if isinstance(found, Shape):
                keep(Geometry(**facts, **asdict(found)))
            else:
                val_labels = images.train_labels[lists.val]
                keep(Record(**facts, **_accuracies(found, images.test_labels, val_labels, counts, benchmark)))


def keep_sample(folder: Path, frozen: Frozen, seed: int) -> None:
    """Keeps some of the test images' features with their classes and groups, for a figure of them."""
    group_of = np.zeros(frozen.classes, dtype=np.int8)
    for place, classes in enumerate(frozen.groups):
        group_of[classes] = place
    labels = frozen.test.labels.numpy()
    save_sample(folder, draw_sample(frozen.test.bank.numpy(), labels, group_of[labels], seed_of(seed, "sample")))


def of_data(
    images: Images, lists: IndexLists, passport: Passport, counts: NDArray[np.int64], grouping: Grouping
) -> dict[str, Any]:
    """What a record says of the data; `counts` (C,) decide the groups."""
    return {
        "dataset": passport.benchmark,
        "profile": passport.profile,
        "split": passport.split,
        "official_split": passport.official,
        "data": passport.line,
        "mark": passport.source.mark,
        "passport": passport.short,
        "class_counts": list(passport.counts),
        "group_counts": counts.tolist(),
        "grouping": RULES[grouping],
        "group_sizes": [len(group) for group in grouped(counts, grouping)],
        "n_pretrain": len(lists.pretrain),
        "pretrain_sha256": passport.lists["pretrain"][1],
    }


def facts_of_run(run: RunFolder) -> dict[str, Any]:
    """What a record says of the run that trained the backbone: its configuration, its cost, how it found the tail."""
    config, recipe = run.config, run.config.recipe
    tail = run.last_epoch().get("tail", {})
    return {
        "run_id": config.run_id,
        "method": config.method,
        "hparams": dict(config.hparams),
        "seed": config.seed,
        "backbone": recipe.backbone,
        "preset": config.preset,
        "recipe": config.to_json()["recipe"],
        "epochs": recipe.epochs,
        "batch_size": recipe.batch_size,
        "precision": config.precision,
        "executor": config.executor,
        "pool": run.pool(),
        "tail_auroc": tail.get("auroc"),
        "tail_spearman": tail.get("spearman"),
        **_cost(run.training_facts()),
        "versions": versions(),
    }


def _cost(facts: TrainingFacts) -> dict[str, Any]:
    return {
        "unreadable": facts.unreadable,
        "train_seconds": round(facts.seconds, 2),
        "images_seen": facts.images,
        "images_per_second": round(facts.images / facts.seconds, 1) if facts.images else None,
        "peak_memory_mb": facts.peak_memory_mb and round(facts.peak_memory_mb, 1),
        "device": facts.device,
    }


def _accuracies(
    found: ProbeResult,
    labels: NDArray[np.int64],
    val_labels: NDArray[np.int64],
    counts: NDArray[np.int64],
    benchmark: Benchmark,
) -> dict[str, Any]:
    """What a record says of accuracies, but for the run and the probe."""
    classes = len(benchmark.class_names)
    by_draw = np.array([class_accuracies(predicted, labels, classes) for predicted in found.predicted])
    summary = break_down(by_draw, counts)
    by_class = np.argsort(labels, kind="stable")
    (other,) = (rule for rule in get_args(Grouping) if rule != benchmark.groups)
    return {
        "chosen": found.chosen,
        "val_accuracy": found.val_accuracy,
        "val_class_accuracy": (
            class_accuracies(found.val_predicted, val_labels, classes)
            if found.val_predicted is not None and len(np.unique(val_labels)) == classes
            else None
        ),
        "n_train": found.n_train,
        "n_val": 0 if found.val_predicted is None else len(found.val_predicted),
        "class_accuracy": by_draw.mean(axis=0).tolist(),
        "draw_means": by_draw.mean(axis=1).tolist(),
        "test_counts": np.bincount(labels, minlength=classes).tolist(),
        "correct": pack(found.predicted[:, by_class] == labels[by_class]),
        "curve": found.curve and [_point(point, counts, benchmark.groups) for point in found.curve],
        "mean": summary.mean,
        "class_std": summary.class_std,
        "worst": summary.worst,
        "harmonic_mean": summary.harmonic_mean,
        **{name: value for name, value in asdict(summary.groups[benchmark.groups]).items() if name != "group_sizes"},
        "other_groups": {"grouping": RULES[other], **asdict(summary.groups[other])},
    }


def _point(point: dict[str, Any], counts: NDArray[np.int64], grouping: Grouping) -> dict[str, float]:
    """One point of a curve: what the probe found, with the groups in the place of the classes."""
    means: GroupMeans = break_down(point["class_accuracy"], counts).groups[grouping]
    groups = {"many": means.many, "medium": means.medium, "few": means.few}
    rest = {name: value for name, value in point.items() if name != "class_accuracy"}
    return rest | {name: value for name, value in groups.items() if value is not None}


def _refuse_untrained(training: Training) -> None:
    """Raises UserError where training left the backbone as it began: its numbers would pass for those of a trained one."""
    config = training.config
    if not config.recipe.epochs:
        return  # asked for, and said in every table
    fresh = build_method(config, len(training.corpus.images)).backbone
    pairs = zip(training.method.backbone.parameters(), fresh.parameters(), strict=True)
    if all(torch.equal(trained.cpu(), initial) for trained, initial in pairs):
        raise UserError(
            f"after {config.recipe.epochs} epochs the backbone of {config.label} equals its initialisation, so nothing was "
            "learned; look at the learning rate and delete the run's folder"
        )


@cache
def versions() -> dict[str, str]:
    """Of Python and the packages that numbers depend on most."""
    return {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in PACKAGES}}
