"""The resolved configuration of one run. Hyper-parameters flow one way and end here, frozen.

Method default, then the benchmark's and the preset's recipe, then what the user set. The hash of the result names the run.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from core.errors import UserError
from core.settings import with_changes
from data.benchmark import BENCHMARKS
from data.recipe import Recipe
from methods import METHODS
from training.presets import PRESETS

FORMAT = 1  # raised when the same settings would train something else than before
LATER = {"schedule": "cosine"}  # settings that are left out at the value that all runs had before: these keep their names


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides the weights of one run."""

    method: str
    hparams: Mapping[str, Any]
    dataset: str
    profile: str
    split: int
    seed: int
    preset: str
    recipe: Recipe
    precision: str  # "fp32" or "bf16"
    executor: str  # augmentation backend

    def to_json(self) -> dict[str, Any]:
        """Plain values, as `config.json` holds them."""
        values = json.loads(json.dumps(asdict(self)))
        values["recipe"] = {key: value for key, value in values["recipe"].items() if LATER.get(key) != value}
        return {"format": FORMAT, **values}

    @cached_property
    def run_id(self) -> str:
        """Twelve hexadecimal digits of the hash of the configuration."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()[:12]

    @property
    def label(self) -> str:
        """The run in a few words, for progress and messages."""
        profile = "" if self.profile == BENCHMARKS[self.dataset]().profile(None) else f" profile {self.profile}"
        return f"{self.method} on {self.dataset}{profile} split {self.split} seed {self.seed}"


def resolve(
    *,
    method: str,
    dataset: str,
    profile: str | None,
    split: int,
    seed: int,
    preset: str,
    precision: str,
    recipe_changes: Mapping[str, Any],
    hparam_changes: Mapping[str, Any],
    executor: str = "torch",
) -> RunConfig:
    """Resolves and checks one run.

    Args:
        method: registered name.
        dataset: registered name.
        profile: one of the benchmark's, or None for its default.
        split: from 1.
        seed: of every random stream of the run.
        preset: a key of PRESETS.
        precision: "fp32" or "bf16".
        recipe_changes: what the user sets of the recipe. A batch size without a learning rate scales the rate with it, a
            number of epochs without a warm-up the warm-up.
        hparam_changes: what the user sets of the method.
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
    if "batch_size" in recipe_changes and "lr" not in recipe_changes:
        recipe = with_changes(recipe, {"lr": base.lr * recipe.batch_size / base.batch_size}, "recipe")
    if "epochs" in recipe_changes and "warmup_epochs" not in recipe_changes:
        recipe = with_changes(recipe, {"warmup_epochs": base.warmup_epochs * recipe.epochs / base.epochs}, "recipe")
    if recipe.epochs and recipe.warmup_epochs >= recipe.epochs:
        raise UserError(
            f"recipe.warmup_epochs={recipe.warmup_epochs} is as long as the run of {recipe.epochs} epochs, or longer; "
            "lower it with --set recipe.warmup_epochs=..."
        )
    if 0 < size < recipe.batch_size:
        raise UserError(f"batch size {recipe.batch_size} is larger than {dataset}'s {size} images; lower --batch-size")

    hparams = with_changes(default_hparams(method, dataset, preset), hparam_changes, method)
    return RunConfig(method, asdict(hparams), dataset, profile, split, seed, preset, recipe, precision, executor)


def default_hparams(method: str, dataset: str, preset: str) -> Any:
    """A method's hyper-parameters where the user sets none: its defaults, then its recipes for benchmark and preset."""
    declared = METHODS[method]
    hparams = declared.Hparams()
    for name in (dataset, PRESETS[preset].after, preset):
        hparams = with_changes(hparams, declared.recipes.get(name or "", {}), method)
    return hparams
