"""What there is to run, as text: methods, benchmarks, backbones, probes, presets."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from functools import cache
from pathlib import Path
from typing import Any

import timm

from backbones import BACKBONES
from core.errors import UserError
from core.settings import describe
from data.benchmark import BENCHMARKS, Benchmark, data_folder
from data.passport import read_passports
from data.pools.pool import pools_text
from data.recipe import Recipe
from eval.probes import PROBES
from methods import METHODS
from probing.pretrained import EXTERNAL
from run_store.records import Record
from training.config import default_hparams
from training.presets import PRESETS


def catalogue(data_root: Path | None = None) -> str:
    """Every registered thing with its source and, for methods, its hyper-parameters and their meaning."""
    lines = ["METHODS"]
    for name, method in METHODS:
        asked = "" if method.suite else " (not in `all`)"
        lines.append(f"  {name}: {method.title}. {method.paper}{asked}")
        lines += _settings(name, method.Hparams)
        lines += [
            f"      in {where}: {', '.join(f'{key} = {value}' for key, value in changes.items())}"
            for where, changes in method.recipes.items()
        ]
    lines.append("\nDATASETS")
    lines += [line for _, benchmark in BENCHMARKS for line in _benchmark(benchmark)]
    lines.append("\nPOOLS (of images from elsewhere, for colt.pool)")
    lines += [f"  {line}" for line in pools_text(data_folder(data_root))]
    lines.append("\nBACKBONES")
    for name, build in BACKBONES:
        lines.append(f"  {name}: {inspect.getdoc(build)}")
    lines.append(f"  and {len(timm.list_models())} of timm {timm.__version__} by their names there, such as resnet18, resnet50")
    lines.append("\nPROBES")
    lines += [f"  {name}: {probe.protocol}" for name, probe in PROBES]
    lines.append("\nPRESETS")
    lines += [f"  {label}: {preset.about}" for label, preset in PRESETS.items()]
    lines.append("\nRECIPE (the paper preset's values are each benchmark's own)")
    lines += _settings("recipe", Recipe)
    for name, benchmark in BENCHMARKS:
        for label, preset in PRESETS.items():
            recipe = preset.change(benchmark.recipe)
            values = ", ".join(f"{field.name} {_value(getattr(recipe, field.name))}" for field in fields(recipe))
            lines.append(f"      {name}, {label}: {values}")
    return "\n".join(lines)


def benchmarks_text(datasets: Sequence[str], data_root: Path | None) -> str:
    """The benchmarks of these names or globs, their profiles, and which copy of their images is there."""
    lines = []
    for name in _selected(datasets):
        lines += [*_benchmark(BENCHMARKS[name]), f"      images: {BENCHMARKS[name]().describe_copy(data_folder(data_root))}"]
    return "\n".join(lines)


def passports_text(datasets: Sequence[str], profile: str | None, splits: Sequence[int], data_root: Path | None) -> str:
    """Passports of benchmarks by name or glob; where a benchmark's labels are not there, one line says what is missing.

    Raises:
        UserError: there is no such benchmark, profile or split.
    """
    blocks = []
    for benchmark in (BENCHMARKS[name]() for name in _selected(datasets)):
        chosen = benchmark.profile(profile)
        for split in splits:
            benchmark.check_split(chosen, split)
        try:
            passports = read_passports(benchmark, chosen, splits, data_folder(data_root))
            blocks += [passport.text() for passport in passports]
        except UserError as error:
            blocks.append(f"NO PASSPORT: {benchmark.name}, profile {chosen}: {error}")
    return "\n\n".join(blocks)


def method_title(record: Record) -> str:
    """How tables print the method of a record: its title, and the hyper-parameters that are not its defaults."""
    if record.method == EXTERNAL:
        return f"{record.hparams['file']} ({record.hparams['sha256']})"
    return title_of(record.method, record.hparams, record.dataset, record.preset)


def title_of(method: str, hparams: Mapping[str, Any], dataset: str, preset: str) -> str:
    """A method's title, and those of its hyper-parameters that are not its defaults there."""
    if method not in METHODS:
        return method
    defaults = _defaults(method, dataset, preset)
    changes = [f"{key}={_value(value)}" for key, value in hparams.items() if value != defaults.get(key)]
    return METHODS[method].title + (f" ({', '.join(changes)})" if changes else "")


@cache
def _defaults(method: str, dataset: str, preset: str) -> dict[str, Any]:
    return asdict(default_hparams(method, dataset, preset))


def _selected(datasets: Sequence[str]) -> list[str]:
    return BENCHMARKS.select(datasets, everything=[name for name, benchmark in BENCHMARKS if benchmark.suite])


def _benchmark(benchmark: type[Benchmark]) -> list[str]:
    """A benchmark and its named profiles, one a line."""
    lines = [f"  {benchmark.name}: {benchmark.title}, {benchmark.image_size} px. {benchmark.paper}"]
    for label, profile in benchmark.profiles.items():
        official = f" (official: 1 to {profile.official})" if profile.official else ""
        size = benchmark.size(label) or "any number of"
        lines.append(f"      profile {label}: {size} images, splits 1 to {profile.splits}{official}; {profile.about}")
    return lines + [f"      {other}" for other in benchmark.other_profiles]


def _settings(owner: str, declared: type) -> list[str]:
    return [
        f"      {owner}.{setting.name} ({setting.type}, default {_value(setting.default)}): {setting.meaning}"
        for setting in describe(declared)
    ]


def _value(value: object) -> str:
    """A value in the form that `--set` takes."""
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
