"""The command `list`: methods, benchmarks, OOD pools, backbones, probes and presets as text."""

import inspect
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import timm

from backbones import BACKBONES
from commands.titles import value_text
from core.errors import UserError
from core.settings import describe
from data.benchmark import BENCHMARKS, Benchmark, MissingData
from data.passport import read_passports
from data.pools.pool import pools_text
from data.recipe import Recipe
from data.root import data_folder
from data.variants import variant_of
from eval.probes import PROBES
from methods import METHODS
from training.presets import PRESETS


def list_(
    datasets: Sequence[str] | None = None,
    *,
    passport: bool = False,
    variant: str | None = None,
    splits: Sequence[int] | None = None,
    data_root: Path | None = None,
) -> str:
    """Returns the text of the command.

    Args:
        datasets: names or globs of the only benchmarks to describe; None: everything that is registered.
        passport: print the passports of the benchmarks.
        variant: of the passports; None: the first of each benchmark.
        splits: of the passports; None: 1.
        data_root: folder of the data sets; None: the user's cache folder.

    Raises:
        UserError: unknown benchmark, variant or split, or options of passports without `passport`.
    """
    if passport:
        return _passports_text(datasets or ["all"], variant, splits or [1], data_root)
    if variant is not None or splits:
        raise UserError("list: --variant and --splits choose passports; add --passport")
    return _benchmarks_text(datasets, data_root) if datasets else _registry_text(data_root)


def _registry_text(data_root: Path | None) -> str:
    """All registered names with their sources, hyper-parameters and settings."""
    lines = ["GROUPS OF METHODS (for --methods)"]
    lines += [f"  {group}: {', '.join(names)}" for group, names in METHODS.groups().items()]
    lines.append("\nMETHODS")
    for name, method in METHODS:
        excluded = "" if method.suite else " (not in `all`)"
        lines.append(f"  {name}: {method.title} ({method.group}). {method.paper}{excluded}")
        lines += _settings(name, method.Hparams)
        lines += [
            f"      in {where}: {', '.join(f'{key} = {value}' for key, value in changes.items())}"
            + ("" if owner is method else f" (of {owner.name})")
            for owner in method.stack()
            for where, changes in owner.overrides.items()
        ]
    lines.append("\nDATASETS")
    lines += [line for _, benchmark in BENCHMARKS for line in _benchmark(benchmark)]
    lines.append("\nOOD POOLS (for colt.pool and mak.pool)")
    lines += [f"  {line}" for line in pools_text(data_folder(data_root))]
    lines.append("\nBACKBONES")
    for name, build in BACKBONES:
        first, *_ = (inspect.getdoc(build) or "").splitlines() or [""]
        lines.append(f"  {name}: {first}")
    lines.append(f"  and the {len(timm.list_models())} models of timm {timm.__version__} by name, such as resnet18, resnet50")
    lines.append("\nPROBES")
    lines += [f"  {name}: {probe.protocol}{' (default)' if probe.default else ''}" for name, probe in PROBES]
    lines.append("\nPRESETS")
    lines += [f"  {label}: {preset.description}" for label, preset in PRESETS.items()]
    lines.append("\nRECIPE (settings, and their values by benchmark and preset)")
    lines += _settings("recipe", Recipe)
    for name, benchmark in BENCHMARKS:
        for label, preset in PRESETS.items():
            recipe = preset.change(benchmark.recipe)
            values = ", ".join(f"{field.name} {value_text(getattr(recipe, field.name))}" for field in fields(recipe))
            lines.append(f"      {name}, {label}: {values}")
    return "\n".join(lines)


def _benchmarks_text(datasets: Sequence[str], data_root: Path | None) -> str:
    """Benchmarks by name or glob: variants, and the state of their images on disk."""
    lines = []
    for name in BENCHMARKS.select(datasets):
        lines += [*_benchmark(BENCHMARKS[name]), f"      images: {BENCHMARKS[name]().describe_copy(data_folder(data_root))}"]
    return "\n".join(lines)


def _passports_text(datasets: Sequence[str], variant: str | None, splits: Sequence[int], data_root: Path | None) -> str:
    """Passports of benchmarks by name or glob; a line with the reason where the labels of a benchmark cannot be read."""
    blocks = []
    for benchmark in (BENCHMARKS[name]() for name in BENCHMARKS.select(datasets)):
        chosen = benchmark.profile(variant)
        for split in splits:
            benchmark.check_split(chosen, split)
        try:
            passports = read_passports(benchmark, chosen, splits, data_folder(data_root))
            blocks += [passport.text() for passport in passports]
        except MissingData as error:
            blocks.append(error.line(benchmark.name, variant_of(benchmark.name, chosen)))
        except UserError as error:
            blocks.append(f"ERROR: {benchmark.name} (variant {variant_of(benchmark.name, chosen)}): {error}")
    return "\n\n".join(blocks)


def _benchmark(benchmark: type[Benchmark]) -> list[str]:
    """Lines of a benchmark and of its variants."""
    lines = [f"  {benchmark.name}: {benchmark.title}, {benchmark.image_size} px. {benchmark.paper}"]
    for label, profile in benchmark.profiles.items():
        official = f" (official: 1 to {profile.official})" if profile.official else ""
        size = f"{benchmark.size(label)} images" if benchmark.size(label) else "size set by its lists"
        variant = variant_of(benchmark.name, label)
        name = variant if variant == label else f"{variant} (in files: {label})"
        splits = "one split" if profile.splits == 1 else f"splits 1 to {profile.splits}"
        lines.append(f"      variant {name}: {size}, {splits}{official}; {profile.about}")
    return lines + [f"      {other}" for other in benchmark.other_profiles]


def _settings(owner: str, declared: type) -> list[str]:
    return [
        f"      {owner}.{setting.name} ({setting.type}, default {value_text(setting.default)}): {setting.meaning}"
        for setting in describe(declared)
    ]
