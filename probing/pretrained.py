"""Pretrained backbones: external weights from a file, or a trained run that is probed on other data.

In records of a file, method and preset are `external`, and fields on training are None. In records of a run, the recipe has
`pretrained_on`, and `n_pretrain` and `pretrain_sha256` are those of its pretraining set.
"""

import hashlib
import logging
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

import backbones
from backbones.state_dict import load_backbone, read_tensors
from core.errors import UserError, first_line, is_out_of_memory
from core.words import listed
from data.benchmark import Benchmark
from data.recipe import Recipe
from data.views.spec import Evaluation
from probing.metadata import run_metadata
from run_store.folder import RunFolder
from run_store.loading import load_trained_backbone
from training.config import OMITTED_DEFAULTS

log = logging.getLogger(__name__)

EXTERNAL = "external"  # method and preset of weights from a file
NAMES = 12  # maximum number of ignored tensors in a log message
# fields that are None for weights from a file; 0 would mean untrained
UNKNOWN = (
    "epochs", "batch_size", "pool", "tail_auroc", "tail_spearman", "train_seconds", "images_seen", "images_per_second",
    "peak_memory_mb",
)  # fmt: skip


@dataclass(frozen=True)
class PretrainedBackbone:
    """A pretrained backbone with the metadata of its training."""

    backbone: nn.Module
    evaluation: Evaluation  # evaluation transform of its images
    weights: Mapping[str, Any]  # identity of the weights, part of the configuration
    label: str  # short description for messages
    metadata: Mapping[str, Any]  # fields of a record on training


def from_file(
    path: Path, name: str, key: str | None = None, prefix: str | None = None
) -> Callable[[Benchmark], PretrainedBackbone]:
    """Reads external pretrained weights; returns a function that loads them into the backbone for a benchmark's image size.

    Args:
        path: argument of `read_tensors`.
        name: of the backbone.
        key: argument of `read_tensors`.
        prefix: argument of `load_backbone`.

    Raises:
        UserError: from `read_tensors`. The returned function raises it from `load_backbone`, and if the network does not
            support the image size.
    """
    name = backbones.canonical(name)
    tensors, found_key = read_tensors(path, key)
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()

    @cache
    def on(benchmark: Benchmark) -> PretrainedBackbone:
        backbone = backbones.create(name, benchmark.image_size)
        try:
            loaded = load_backbone(backbone, tensors, prefix)
        except UserError as error:
            raise UserError(f"{path} as {name} for {benchmark.name}: {error}") from error
        log.info("loaded %s into %s; ignored tensors: %s", path.name, name, listed(loaded.left_out, NAMES) or "none")
        weights = {"sha256": digest, "key": found_key, "prefix": loaded.prefix, "backbone": name}
        hparams = {"file": path.name, "sha256": digest[:12], "key": found_key, "prefix": loaded.prefix}
        metadata = _external_metadata(name, hparams)
        return _checked(PretrainedBackbone(backbone, benchmark.evaluation, weights, path.name, metadata), benchmark)

    return on


def from_module(network: nn.Module) -> Callable[[Benchmark], PretrainedBackbone]:
    """Returns a function that copies a network in memory for a benchmark.

    Args:
        network: (B, 3, S, S) to (B, d).

    Raises:
        UserError: the returned function raises it if the network does not support the image size, or returns something else.
    """
    name = type(network).__name__
    tensors = {key: tensor.cpu().contiguous().clone() for key, tensor in network.state_dict().items()}
    digest = hashlib.sha256(save(tensors)).hexdigest()
    metadata = _external_metadata(name, {"file": name, "sha256": digest[:12], "key": "", "prefix": ""})
    weights = {"sha256": digest, "module": name}

    @cache
    def on(benchmark: Benchmark) -> PretrainedBackbone:
        copied = deepcopy(network).cpu()
        return _checked(PretrainedBackbone(copied, benchmark.evaluation, weights, name, metadata), benchmark)

    return on


def from_run(run: RunFolder) -> Callable[[Benchmark], PretrainedBackbone]:
    """Returns a function that loads the backbone of a trained run, built for the image size of its training, for a benchmark.

    Raises:
        UserError: the returned function raises it from `load_trained_backbone`, and if the network does not support the image
            size.
    """
    config, passport = run.config, run.passport()
    metadata = run_metadata(run)
    if passport:
        n_pretrain, sha256 = passport.lists["pretrain"]
        metadata |= {"n_pretrain": n_pretrain, "pretrain_sha256": sha256}
    weights = {"run": config.run_id, "passport": passport and passport.short, "pretrained_on": config.to_json()}

    @cache
    def on(benchmark: Benchmark) -> PretrainedBackbone:
        split = f" split {config.split}" if benchmark.name == config.dataset else ""  # omitted for other benchmarks
        recipe = {**metadata["recipe"], "pretrained_on": f"{config.dataset} (profile {config.profile}){split}"}
        backbone, evaluation = load_trained_backbone(run), benchmark.evaluation_of(config.recipe)
        pretrained = PretrainedBackbone(backbone, evaluation, weights, config.label, metadata | {"recipe": recipe})
        return _checked(pretrained, benchmark)

    return on


def _external_metadata(backbone: str, hparams: Mapping[str, str]) -> dict[str, Any]:
    """Fields of a record on training, of weights that this suite did not train."""
    recipe = {field.name: None for field in fields(Recipe) if field.name not in OMITTED_DEFAULTS}
    return {
        "method": EXTERNAL,
        "hparams": hparams,
        "seed": 0,
        "backbone": backbone,
        "preset": EXTERNAL,
        "recipe": recipe | {"backbone": backbone},
        "precision": "fp32",
        "unreadable": 0,
        "device": "unknown",
        **dict.fromkeys(UNKNOWN),
    }


def _checked(pretrained: PretrainedBackbone, benchmark: Benchmark) -> PretrainedBackbone:
    """Returns `pretrained`, its network in eval mode.

    Raises:
        UserError: the network fails at the image size of the evaluation transform, or its output is not one vector per image.
    """
    size = pretrained.evaluation.crop or benchmark.image_size
    try:
        with torch.no_grad():
            features = pretrained.backbone.eval()(torch.zeros(2, 3, size, size))
    except Exception as error:  # networks raise various exceptions for unsupported image sizes
        if is_out_of_memory(error):
            raise
        raise UserError(
            f"{pretrained.label} does not support images of {size} px ({first_line(error)}), so it cannot be probed on "
            f"{benchmark.name}"
        ) from error
    if not isinstance(features, Tensor) or features.ndim != 2 or len(features) != 2:
        shape = f"a tensor of shape {tuple(features.shape)}" if isinstance(features, Tensor) else f"a {type(features).__name__}"
        raise UserError(f"{pretrained.label} returns {shape} for 2 images; a backbone returns one feature vector per image")
    return pretrained
