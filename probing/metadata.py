"""Fields of a record: metadata of the run and of the data, and the accuracies of a probe."""

import importlib.metadata
import platform
from dataclasses import asdict
from functools import cache
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from data.benchmark import Grouping
from data.passport import Passport
from data.split import Split
from eval.groups import RULES, GroupMeans, break_down, class_accuracies, grouped
from eval.probes import ProbeResult
from run_store.folder import RunFolder, TrainingFacts
from run_store.records import CurvePoint, OtherGroups, pack
from training.log import TailDetection
from training.prepare import uses_true_labels

PACKAGES = ("torch", "torchvision", "timm", "numpy", "scikit-learn", "pandas")


def data_metadata(passport: Passport, grouping: Grouping) -> dict[str, Any]:
    """Fields of a record on the data."""
    n_pretrain, pretrain_sha256 = passport.lists["pretrain"]
    return {
        "dataset": passport.benchmark,
        "profile": passport.profile,
        "split": passport.split,
        "official_split": passport.official,
        "data": passport.line,
        "mark": passport.source.mark,
        "passport": passport.short,
        "class_counts": list(passport.counts),
        "group_counts": list(passport.counts_for_groups),
        "grouping": RULES[grouping],
        "group_sizes": [len(group) for group in grouped(passport.counts_for_groups, grouping)],
        "n_pretrain": n_pretrain,
        "pretrain_sha256": pretrain_sha256,
    }


def run_metadata(run: RunFolder) -> dict[str, Any]:
    """Fields of a record on the training run: configuration, cost, and quality of its tail scores."""
    config, recipe = run.config, run.config.recipe
    last = run.last_epoch()
    tail = last.tail if last else TailDetection()
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
        "true_labels": uses_true_labels(config),
        "tail_auroc": tail.auroc,
        "tail_spearman": tail.spearman,
        **_training(run.training_facts()),
        "versions": versions(),
    }


def _training(facts: TrainingFacts) -> dict[str, Any]:
    return {
        "unreadable": facts.unreadable,
        "train_seconds": round(facts.seconds, 2),
        "images_seen": facts.images,
        "images_per_second": round(facts.images / facts.seconds, 1) if facts.images else None,
        "peak_memory_mb": facts.peak_memory_mb and round(facts.peak_memory_mb, 1),
        "device": facts.device,
        "processes": facts.processes,
        "compiled": facts.compiled,
        "warnings": facts.warnings,
    }


def accuracies_of(found: ProbeResult, split: Split) -> dict[str, Any]:
    """Fields of a record on the accuracies of a probe."""
    labels, val_labels, counts = split.images.test_labels, split.val_labels, split.group_counts
    classes, grouping = split.classes, split.benchmark.groups
    by_draw = np.array([class_accuracies(predicted, labels, classes) for predicted in found.predicted])
    summary = break_down(by_draw, counts)
    by_class = np.argsort(labels, kind="stable")
    (other,) = (rule for rule in get_args(Grouping) if rule != grouping)
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
        "curve": found.curve and [_point(point, counts, grouping) for point in found.curve],
        "mean": summary.mean,
        "class_std": summary.class_std,
        "worst": summary.worst,
        "harmonic_mean": summary.harmonic_mean,
        **{name: value for name, value in asdict(summary.groups[grouping]).items() if name != "group_sizes"},
        "other_groups": OtherGroups(grouping=RULES[other], **asdict(summary.groups[other])),
    }


def _point(point: dict[str, Any], counts: NDArray[np.int64], grouping: Grouping) -> CurvePoint:
    """Replaces the class accuracies of a point of a curve by group means."""
    means: GroupMeans = break_down(point["class_accuracy"], counts).groups[grouping]
    rest = {name: value for name, value in point.items() if name != "class_accuracy"}
    return CurvePoint(**rest, many=means.many, medium=means.medium, few=means.few)


@cache
def versions() -> dict[str, str]:
    """Versions of Python and of the packages that affect results."""
    return {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in PACKAGES}}
