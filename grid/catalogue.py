"""What there is to run, as text: methods, benchmarks, backbones, probes, presets."""

import inspect
from dataclasses import asdict, fields

import timm

from backbones import BACKBONES
from core.settings import describe
from data.benchmark import BENCHMARKS, data_folder
from data.pools import pools_text
from data.recipe import Recipe
from eval.probes import PROBES
from methods import METHODS
from reports.records import Record
from training.config import default_hparams
from training.presets import PRESETS


def catalogue() -> str:
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
    for name, benchmark in BENCHMARKS:
        lines.append(f"  {name}: {benchmark.title}, {benchmark.image_size} px. {benchmark.paper}")
        for label, profile in benchmark.profiles.items():
            lines.append(f"      profile {label}: {profile.size} images, splits 1 to {profile.splits}; {profile.about}")
    lines.append("\nPOOLS (of images from elsewhere, for colt.pool)")
    lines += [f"  {line}" for line in pools_text(data_folder(None))]
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


def method_title(record: Record) -> str:
    """How tables print the method of a record: its title, and the hyper-parameters that are not its defaults."""
    if record.method not in METHODS:
        return record.method
    defaults = asdict(default_hparams(record.method, record.dataset, record.preset))
    changes = [f"{key}={_value(value)}" for key, value in record.hparams.items() if value != defaults.get(key)]
    return METHODS[record.method].title + (f" ({', '.join(changes)})" if changes else "")


def _settings(owner: str, declared: type) -> list[str]:
    return [
        f"      {owner}.{setting.name} ({setting.type}, default {_value(setting.default)}): {setting.meaning}"
        for setting in describe(declared)
    ]


def _value(value: object) -> str:
    """A value in the form that `--set` takes."""
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
