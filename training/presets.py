"""Presets: scales of the same pipeline, from the protocol of the papers to a smoke test."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from data.recipe import Recipe

LARGE = 96  # px; larger images are trained on at half their size: a step at 224 px costs 49 times one at 32 px


@dataclass(frozen=True)
class Preset:
    """A named scale, as a change of the recipe of a benchmark."""

    description: str
    change: Callable[[Recipe], Recipe]
    inherits: str | None = None  # preset whose hyper-parameter overrides of methods apply too


def _paper(recipe: Recipe) -> Recipe:
    return recipe


def _cpu(recipe: Recipe) -> Recipe:
    """Tuned on two CPU cores; see docs/cpu_preset.md."""
    return replace(
        recipe,
        backbone="fast-resnet8",
        epochs=22,
        batch_size=256,
        optimizer="muon",
        lr=0.03,
        weight_decay=0.05,
        warmup_epochs=1.1,
        schedule="linear",
        final_lr=0.0,
        sizes=_growing(recipe, 1),
    )


def _cpu_long(recipe: Recipe) -> Recipe:
    return replace(_cpu(recipe), epochs=64, warmup_epochs=3.2, sizes=_growing(recipe, 2))


def _smoke(recipe: Recipe) -> Recipe:
    return replace(
        _cpu(recipe),
        backbone="tiny-resnet8",
        epochs=2,
        batch_size=128,
        optimizer="adamw",
        lr=4e-3,
        weight_decay=1e-4,
        warmup_epochs=0.5,
        schedule="cosine",
        sizes=_growing(recipe, 1)[:1],
    )


def _growing(recipe: Recipe, first: int) -> tuple[int, ...]:
    """View sizes that grow during training: the `first` of 16, 24, 32 px for 32-px images. A step at 16 px costs a quarter.

    For 224-px images, all of 56, 84, 112 px; probes use the last size too (`Benchmark.evaluation_of`).
    """
    full = max(recipe.sizes)
    if full > LARGE:
        full, first = full // 2, 3
    return (full // 2, full * 3 // 4, full)[:first]


PRESETS = {
    "paper": Preset("protocol of the papers: the benchmark's own recipe; for a GPU", _paper),
    "cpu": Preset("scale for two CPU cores: fast-resnet8, Muon, small views; 1 to 3 min per run", _cpu),
    "cpu-long": Preset("cpu with three times as many epochs and growing views; about 5 min per run", _cpu_long, "cpu"),
    "smoke": Preset("smoke test: all methods in about 2 min; no meaningful accuracies", _smoke),
}
