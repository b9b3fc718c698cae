"""Probes frozen backbones: extracts features once, then writes one record per probe."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from backbones.corpus import Corpus
from core.errors import UserError
from core.seeds import seed_of
from core.words import counted
from data.split import Split
from eval.features import FrozenFeatures, ProgressCounter
from eval.probes import PROBES, GeometryResult
from parallel import processes
from probing.metadata import accuracies_of, data_metadata, run_metadata
from run_store.feature_sample import draw_sample, save_sample
from run_store.folder import RunFolder
from run_store.record_folder import RecordFolder
from run_store.records import AccuracyRecord, GeometryRecord, Record
from training.collapse import likely_cause, weight_change
from training.prepare import Training
from training.progress import probing_bar


def probe_run(run: RunFolder, training: Training, split: Split, probes: Sequence[str]) -> None:
    """Runs probes on the frozen backbone of a trained run and writes a record after each.

    Raises:
        UserError: an image file cannot be read, a feature is not finite, or training did not change the backbone.
    """
    if not probes:
        return
    _check_trained(training)
    metadata = run_metadata(run) | data_metadata(split.passport, split.benchmark.groups)
    probe_backbone(training.method.backbone, training.corpus, split, probes, run, metadata, label=run.config.label)


def probe_backbone(
    backbone: nn.Module,
    corpus: Corpus,
    split: Split,
    probes: Sequence[str],
    folder: RecordFolder,
    metadata: Mapping[str, Any],
    *,
    label: str,
) -> None:
    """Probes a frozen backbone on one split of a benchmark.

    Args:
        backbone: (B, 3, H, W) to (B, d).
        corpus: computes its features.
        split: data of the probes.
        probes: names, at least one.
        folder: folder to which records and a sample of the test features are written.
        metadata: fields of every record except those of the probe; its `seed` is the seed of the probes.
        label: short description for the progress bar.

    Raises:
        UserError: an image file cannot be read, or a feature is not finite.
    """
    seed = metadata["seed"]
    needs = [name for probe in probes for name in PROBES[probe].feature_lists(split.lists)]
    with probing_bar(label) as bar:
        started = time.monotonic()
        frozen = FrozenFeatures(backbone, split, corpus, needs, ProgressCounter(bar))
        shared = (time.monotonic() - started) / len(probes)
        processes.from_main(lambda: _save_sample(folder.path, frozen, seed))
        for probe in probes:
            started = time.monotonic()
            result = PROBES[probe]().run(frozen, seed)
            common = {
                **metadata,
                "probe": probe,
                "protocol": PROBES[probe].describe(split.benchmark.in_files),
                "probe_seconds": round(shared + time.monotonic() - started, 2),
                "n_test": len(split.images.test_labels),
            }
            if isinstance(result, GeometryResult):
                record: Record = GeometryRecord(**common, **asdict(result))
            else:
                record = AccuracyRecord(**common, **accuracies_of(result, split))
            processes.from_main(partial(folder.add, record))


def _save_sample(folder: Path, frozen: FrozenFeatures, seed: int) -> None:
    """Writes a sample of the test features with classes and groups, for the t-SNE figure."""
    group_of = np.zeros(frozen.classes, dtype=np.int8)
    for number, classes in enumerate(frozen.groups):
        group_of[classes] = number
    labels = frozen.test.labels.numpy()
    save_sample(folder, draw_sample(frozen.test.bank.numpy(), labels, group_of[labels], seed_of(seed, "sample")))


def _check_trained(training: Training) -> None:
    """Raises UserError if training did not change the backbone, so that no record reports it as trained."""
    config = training.config
    if not config.recipe.epochs:
        return  # untrained network on request, marked in every table
    if weight_change(training) == 0:
        raise UserError(
            f"after {counted(config.recipe.epochs, 'epoch')} the backbone of {config.label} equals its initialisation; "
            f"{likely_cause(config) or 'check the learning rate'}; delete the run folder"
        )
