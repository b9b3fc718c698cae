"""Presets: how large the same pipeline is run."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from data.recipe import Recipe

LARGE = 96  # px; images above it are seen at half their side: a step on photographs of 224 px would cost 49 times CIFAR's


@dataclass(frozen=True)
class Preset:
    """A named scale: how it changes the recipe that a benchmark declares."""

    about: str
    change: Callable[[Recipe], Recipe]
    after: str | None = None  # another preset, whose hyper-parameters of methods hold here too


def _paper(recipe: Recipe) -> Recipe:
    return recipe


def _cpu(recipe: Recipe) -> Recipe:
    """Chosen by measurement on two cores; see docs/cpu_preset.md."""
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
    """Views that grow over the run: the `first` of 16, 24, 32 px for 32-px images. Small ones cost a quarter of large ones.

    For photographs of 224 px all of 56, 84, 112 px: probes see these at the last size too (`Benchmark.evaluation_of`).
    """
    full = max(recipe.sizes)
    if full > LARGE:
        full, first = full // 2, 3
    return (full // 2, full * 3 // 4, full)[:first]


PRESETS = {
    "paper": Preset("the field's protocol: the benchmark's own recipe; for a GPU", _paper),
    "cpu": Preset("the same pipeline at a scale for two cores: slim ResNet, Muon, small views; a minute or two a run", _cpu),
    "cpu-long": Preset("the same in three times as many epochs, with views that grow; about 5 minutes a run", _cpu_long, "cpu"),
    "smoke": Preset("every method in about two minutes together: a first look, not a result", _smoke),
}
