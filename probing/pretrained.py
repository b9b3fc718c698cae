"""Backbones that were not trained on the data they are probed on: weights of a file, or a run's for another benchmark.

Records tell them from runs: of a file, method and preset are `external` and what is not known of its training is None; of a
run, the recipe says under `pretrained_on` what trained it, and of that are `n_pretrain` and `pretrain_sha256`.
"""

import hashlib
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

from torch import nn

import backbones
from backbones.state_dict import load_backbone, read_tensors
from core.errors import UserError, first_line
from data.benchmark import Benchmark
from data.recipe import Recipe
from data.views.spec import Evaluation
from probing.metadata import facts_of_run
from run_store.folder import PASSPORT, RunFolder
from run_store.loading import trained_backbone
from training.config import LATER

log = logging.getLogger(__name__)

EXTERNAL = "external"  # method and preset of weights from a file
NAMES = 12  # of tensors that are left out, in a line
# what nobody can know of weights from a file; zeros would say that they were not trained
UNKNOWN = (
    "epochs", "batch_size", "pool", "tail_auroc", "tail_spearman", "train_seconds", "images_seen", "images_per_second",
    "peak_memory_mb",
)  # fmt: skip


@dataclass(frozen=True)
class Subject:
    """A frozen backbone, and what its records say of how it came to be."""

    backbone: nn.Module
    shown: Evaluation  # how it is shown the images
    weights: Mapping[str, Any]  # what decides it
    label: str  # the same in a few words
    told: Mapping[str, Any]  # what records say of its training


def of_file(path: Path, name: str, key: str | None = None, prefix: str | None = None) -> Callable[[Benchmark], Subject]:
    """Weights from elsewhere, read once and fitted into the network that each benchmark's images want.

    Args:
        path: as `read_tensors` takes it.
        name: of the backbone.
        key: as `read_tensors` takes it.
        prefix: as `load_backbone` takes it.

    Raises:
        UserError: as `read_tensors`; what is returned raises it as `load_backbone`, and for a network that cannot take the
            images.
    """
    tensors, found_key = read_tensors(path, key)
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()

    @cache
    def on(benchmark: Benchmark) -> Subject:
        backbone = backbones.create(name, benchmark.image_size)
        try:
            loaded = load_backbone(backbone, tensors, prefix)
        except UserError as error:
            raise UserError(f"{path} as {name} for {benchmark.name}: {error}") from error
        names = [*loaded.left_out[:NAMES], *(["..."] if len(loaded.left_out) > NAMES else [])]
        log.info("%s fits %s; left out: %s", path.name, name, ", ".join(names) or "nothing")
        weights = {"sha256": digest, "key": found_key, "prefix": loaded.prefix, "backbone": name}
        told = {
            "method": EXTERNAL,
            "hparams": {"file": path.name, "sha256": digest[:12], "key": found_key, "prefix": loaded.prefix},
            "seed": 0,
            "backbone": name,
            "preset": EXTERNAL,
            "recipe": {field.name: None for field in fields(Recipe) if field.name not in LATER} | {"backbone": name},
            "precision": "fp32",
            "unreadable": 0,
            "device": "unknown",
            **dict.fromkeys(UNKNOWN),
        }
        return _checked(Subject(backbone, benchmark.evaluation, weights, path.name, told), benchmark)

    return on


def of_run(run: RunFolder) -> Callable[[Benchmark], Subject]:
    """The backbone of a trained run: the network of the images that it was trained on, whatever it is shown.

    Raises:
        UserError: what is returned raises it as `trained_backbone`, and for a network that cannot take the images.
    """
    config, identity = run.config, run.identity()
    text = (run.path / PASSPORT).read_text() if identity else ""
    length = re.search(r"^  pretrain +(\d+) images", text, re.MULTILINE)
    told = facts_of_run(run)
    if identity and length:
        told |= {"n_pretrain": int(length[1]), "pretrain_sha256": identity.lists["pretrain"]}
    weights = {"run": config.run_id, "passport": identity and identity.short, "pretrained_on": config.to_json()}

    @cache
    def on(benchmark: Benchmark) -> Subject:
        split = f" split {config.split}" if benchmark.name == config.dataset else ""  # else it matters less than the benchmark
        recipe = {**told["recipe"], "pretrained_on": f"{config.dataset} (profile {config.profile}){split}"}
        backbone, shown = trained_backbone(run), benchmark.shown_to(config.recipe)
        return _checked(Subject(backbone, shown, weights, config.label, told | {"recipe": recipe}), benchmark)

    return on


def _checked(subject: Subject, benchmark: Benchmark) -> Subject:
    """The subject; raises UserError for a network that fails on images of the size that it will be shown."""
    size = subject.shown.crop or benchmark.image_size
    try:
        backbones.feature_width(subject.backbone, size)
    except Exception as error:  # whatever a network can raise at a size that it was not made for
        raise UserError(
            f"{subject.label} cannot take {benchmark.name}'s images of {size} px ({first_line(error)}); probe it on others"
        ) from error
    return subject
