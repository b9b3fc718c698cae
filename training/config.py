"""Resolved, immutable configuration of one run.

Order of precedence: user settings, overrides of the method for the preset and the benchmark, defaults of the method. The run id
is the hash of the configuration.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, TypedDict

import backbones
from core.errors import UserError
from core.settings import with_changes
from core.words import counted
from data.benchmark import BENCHMARKS
from data.loader import MIN_BATCH
from data.recipe import Recipe
from data.variants import variant_of
from methods import METHODS, Method
from training.presets import PRESETS

FORMAT = 1  # incremented when the same settings train different weights
# recipe settings that are omitted from `config.json` at these values, so that ids of runs without them stay valid
OMITTED_DEFAULTS = {"schedule": "cosine", "accumulate": 1}


class ConfigFile(TypedDict):
    """Settings in `config.json` of a run; names and values in `hparams` and `recipe` are checked by `with_changes`."""

    method: str
    hparams: dict[str, Any]
    dataset: str
    profile: str
    split: int
    seed: int
    preset: str
    recipe: dict[str, Any]
    precision: str
    executor: str


@dataclass(frozen=True)
class RunConfig:
    """All settings that determine the weights of one run."""

    method: str
    hparams: Mapping[str, Any]
    dataset: str
    profile: str
    split: int
    seed: int
    preset: str
    recipe: Recipe
    precision: str  # see `backbones.precision`
    executor: str  # augmentation backend

    def to_json(self) -> dict[str, Any]:
        """Plain values, as written to `config.json`."""
        values = json.loads(json.dumps(asdict(self)))
        values["recipe"] = {key: value for key, value in values["recipe"].items() if OMITTED_DEFAULTS.get(key) != value}
        return {"format": FORMAT, **values}

    @cached_property
    def run_id(self) -> str:
        """First 12 hexadecimal digits of the SHA-256 of the configuration."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()[:12]

    @property
    def variant(self) -> str:
        """Name of the variant of the benchmark, for display."""
        return variant_of(self.dataset, self.profile)

    @property
    def label(self) -> str:
        """Short description of the run, for the progress bar and messages."""
        variant = "" if self.profile == BENCHMARKS[self.dataset]().profile(None) else f" variant {self.variant}"
        return f"{self.method} on {self.dataset}{variant} split {self.split} seed {self.seed}"


def resolve(
    *,
    method: str,
    dataset: str,
    profile: str | None = None,
    split: int = 1,
    seed: int = 0,
    preset: str,
    precision: str,
    recipe_changes: Mapping[str, Any] = {},
    hparam_changes: Mapping[str, Any] = {},
    executor: str = "torch",
) -> RunConfig:
    """Resolves and validates the configuration of one run.

    Args:
        method: registered name.
        dataset: registered name.
        profile: variant of the benchmark, or None for its default.
        split: from 1.
        seed: of every random stream of the run.
        preset: a key of PRESETS.
        precision: see `backbones.precision`.
        recipe_changes: user settings of the recipe. The learning rate is scaled linearly with the batch size, and the warm-up
            with the number of epochs, unless they are set too.
        hparam_changes: user settings of the method.
        executor: name of the augmentation backend.

    Raises:
        UserError: unknown names, values of a wrong type or out of range, a split that does not exist, a batch larger than the
            pretraining set.
    """
    benchmark = BENCHMARKS[dataset]()
    profile = benchmark.profile(profile)
    benchmark.check_split(profile, split)
    size = benchmark.size(profile)

    base = PRESETS[preset].change(benchmark.recipe)
    recipe = with_changes(base, recipe_changes, "recipe")
    recipe = replace(recipe, backbone=backbones.canonical(recipe.backbone))
    if "batch_size" in recipe_changes and "lr" not in recipe_changes:
        recipe = with_changes(recipe, {"lr": base.lr * recipe.batch_size / base.batch_size}, "recipe")
    if "epochs" in recipe_changes and "warmup_epochs" not in recipe_changes:
        recipe = with_changes(recipe, {"warmup_epochs": base.warmup_epochs * recipe.epochs / base.epochs}, "recipe")
    if recipe.epochs and recipe.warmup_epochs >= recipe.epochs:
        raise UserError(
            f"recipe.warmup_epochs={recipe.warmup_epochs} must be less than the {counted(recipe.epochs, 'epoch')} of the run; "
            "lower it with --set recipe.warmup_epochs=..."
        )
    if MIN_BATCH * recipe.accumulate > recipe.batch_size:
        raise UserError(
            f"recipe.accumulate={recipe.accumulate} divides a batch of {recipe.batch_size} into parts of less than {MIN_BATCH} "
            "images; lower --accumulate"
        )
    if recipe.accumulate > 1 and METHODS[method].loss is not Method.loss:
        raise UserError(f"{method} overrides `loss` and cannot accumulate; define `encode` and `objective` instead")
    if 0 < size < recipe.batch_size:
        raise UserError(
            f"batch size {recipe.batch_size} is larger than {dataset}'s {counted(size, 'image')}; lower --batch-size"
        )

    hparams = with_changes(default_hparams(method, dataset, preset), hparam_changes, method)
    return RunConfig(method, asdict(hparams), dataset, profile, split, seed, preset, recipe, precision, executor)


def default_hparams(method: str, dataset: str, preset: str) -> Any:
    """Hyper-parameters of a method without user settings.

    Defaults, updated by the overrides of the host methods of a plug-in and then by its own; in each, overrides for the
    benchmark precede those for the preset.
    """
    declared = METHODS[method]
    hparams = declared.Hparams()
    for owner in declared.stack():
        for name in (dataset, PRESETS[preset].inherits, preset):
            hparams = with_changes(hparams, owner.overrides.get(name or "", {}), method)
    return hparams
