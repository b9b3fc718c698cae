"""Probes what is trained: frozen features once, then a record of every probe that is missing."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from backbones.corpus import Corpus
from core.errors import UserError
from core.seeds import seed_of
from data.benchmark import Benchmark, Images
from data.lists.longtail import IndexLists
from data.passport import Passport
from eval.features import Frozen, Tally
from eval.groups import grouped
from eval.probes import PROBES, Shape
from probing.metadata import accuracies_of, facts_of_run, of_data
from run_store.feature_sample import draw_sample, save_sample
from run_store.folder import RunFolder
from run_store.records import AccuracyRecord, GeometryRecord, Record
from training.prepare import Training, build_method
from training.progress import probing_bar


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
    counts = np.array(passport.deciding)
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
        told=facts_of_run(run) | of_data(passport, benchmark.groups),
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
    keep: Callable[[Record], None],
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
                keep(GeometryRecord(**facts, **asdict(found)))
            else:
                val_labels = images.train_labels[lists.val]
                keep(AccuracyRecord(**facts, **accuracies_of(found, images.test_labels, val_labels, counts, benchmark)))


def keep_sample(folder: Path, frozen: Frozen, seed: int) -> None:
    """Keeps some of the test images' features with their classes and groups, for a figure of them."""
    group_of = np.zeros(frozen.classes, dtype=np.int8)
    for place, classes in enumerate(frozen.groups):
        group_of[classes] = place
    labels = frozen.test.labels.numpy()
    save_sample(folder, draw_sample(frozen.test.bank.numpy(), labels, group_of[labels], seed_of(seed, "sample")))


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
