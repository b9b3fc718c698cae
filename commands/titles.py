"""Titles of methods in tables and lists, name and non-default hyper-parameters, their groups, and advice for more runs."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from core.errors import UserError
from data.benchmark import BENCHMARKS
from methods import METHODS
from probing.pretrained import EXTERNAL
from reports.shipped_record import ShippedRecord
from run_store.passport import read_passport
from run_store.records import Record
from training.config import default_hparams
from training.presets import PRESETS


def method_title(record: Record) -> str:
    """Title of the method of a record; file name, digest, key and prefix for external pretrained weights."""
    if record.method == EXTERNAL:
        parts = [f"{name}={value}" for name in ("key", "prefix") if (value := record.hparams.get(name))]
        return f"{record.hparams['file']} ({', '.join([str(record.hparams['sha256']), *parts])})"
    marks = ["true labels"] if record.true_labels else []
    marks += [record.label] if isinstance(record, ShippedRecord) else []
    return " ".join([run_title(record.method, record.hparams, record.dataset, record.preset), *(f"[{mark}]" for mark in marks)])


def run_title(method: str, hparams: Mapping[str, Any], dataset: str, preset: str) -> str:
    """Title of a method, with the hyper-parameters that differ from its defaults for the benchmark and the preset."""
    if method not in METHODS or preset not in PRESETS:  # of another version of the suite
        return method
    defaults = _defaults(method, dataset, preset)
    # JSON has lists for tuples
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in hparams.items()}
    changes = [f"{key}={value_text(value)}" for key, value in values.items() if value != defaults.get(key)]
    return METHODS[method].title + (f" ({', '.join(changes)})" if changes else "")


def method_group(method: str) -> str:
    """Group of a method; empty if it is not registered, such as external pretrained weights."""
    return METHODS[method].group if method in METHODS else ""


def class_names(record: Record, folders: Mapping[str, Path]) -> tuple[str, ...]:
    """Names of the classes of a record's benchmark; else those of the passport in its run folder; empty if neither is known.

    Args:
        record: of the run.
        folders: run folders by run id.
    """
    if record.dataset in BENCHMARKS and BENCHMARKS[record.dataset].class_names:
        return BENCHMARKS[record.dataset].class_names
    folder = folders.get(record.run_id)
    with suppress(UserError):  # damaged
        if folder is not None and (passport := read_passport(folder)) is not None:
            return passport.class_names
    return ()


def more_runs(record: Record) -> str:
    """Advice for a method with too few runs: splits, or seeds for a benchmark with fewer than five splits.

    A network that was trained on other data is one sample on all probed splits.
    """
    if record.is_transfer:
        return "probe runs of more splits or seeds"
    profiles = BENCHMARKS[record.dataset].profiles if record.dataset in BENCHMARKS else {}
    profile = profiles.get(record.profile)
    return "add --seeds 0 1 2 3 4" if profile is not None and profile.splits < 5 else "add --splits 1 2 3 4 5"


def value_text(value: object) -> str:
    """Formats a value as `--set` accepts it."""
    return ",".join(map(str, value)) if isinstance(value, tuple | list) else str(value)


@cache
def _defaults(method: str, dataset: str, preset: str) -> dict[str, Any]:
    return asdict(default_hparams(method, dataset, preset))
