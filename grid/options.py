"""What a user can ask for: the options of `run` and `plan`. Imports no torch, so that `--help` answers at once."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter, Token

from core.errors import UserError
from core.registry import names_in_source, select


def _numbers(_: object, tokens: Sequence[Token]) -> list[int]:
    """Whole numbers: Python's own conversion would take 1.7 for 1. Raises ValueError for others."""
    for token in tokens:
        if not re.fullmatch(r"[+-]?\d+", token.value.strip(), re.ASCII):
            raise ValueError(f"{token.value!r} is no whole number")
    return [int(token.value) for token in tokens]


Several = Parameter(consume_multiple=True, negative=())
Numbers = Parameter(consume_multiple=True, negative=(), converter=_numbers)
Number = Parameter(converter=lambda kind, tokens: _numbers(kind, tokens)[0])


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Request:
    """The options of `run` and `plan`."""

    methods: Annotated[list[str], Several] = field(default_factory=lambda: ["all"])
    "Methods: names, globs, or all."

    datasets: Annotated[list[str], Several] = field(default_factory=lambda: ["cifar10lt"])
    "Benchmarks: names, globs, or all."

    backbone: str | None = None
    "Network, by its name here or in timm; default: the preset's."

    splits: Annotated[list[int], Numbers] = field(default_factory=lambda: [1])
    "Splits of the profile, from 1; `list` tells how many are official."

    seeds: Annotated[list[int], Numbers] = field(default_factory=lambda: [0])
    "Seeds of the training runs."

    profiles: Annotated[list[str], Several] = field(default_factory=list)
    "How benchmarks are made long-tailed, such as cao, balanced, or ir=50 for another ratio; default: each's first. See `list`."

    preset: Literal["auto", "paper", "cpu", "cpu-long", "smoke"] = "auto"
    "Scale: paper (the field's protocol), cpu (1 to 2 min a run), cpu-long (5 min), smoke; auto: paper on a GPU, else cpu."

    epochs: Annotated[int | None, Number] = None
    "Passes over the long-tailed set, in place of the preset's; 0 probes the untrained network."

    batch_size: Annotated[int | None, Number] = None
    "Images a step, in place of the preset's; the learning rate is scaled with it."

    device: str = "auto"
    "auto, cpu, cuda or cuda:N."

    precision: Literal["auto", "fp32", "bf16"] = "auto"
    "auto: fp32 in the paper preset; elsewhere bf16 where the device has it."

    views: str = "auto"
    "What makes the views: torch, dali, kornia or torchvision; auto: the fastest that this machine has for these images."

    jobs: Annotated[int | None, Number] = None
    "Processes that share the runs; default: one, or, without a GPU, one a core (smoke preset: one)."

    workers: Annotated[int | None, Number] = None
    "Processor threads of each process, for views and, without a GPU, for training; default: the cores shared out evenly."

    probes: Annotated[list[str], Several] = field(default_factory=list)
    "Probe protocols: names, globs, ts (its four) or all; default: the quick ones. See `list`."

    monitor: Literal["none", "knn"] = "none"
    "knn: a quick look at the features on validation images during training, in the progress bar and the log."

    monitor_every: Annotated[int | None, Number] = None
    "Epochs between such looks; default: a twentieth of the run."

    set: Annotated[list[str], Parameter(consume_multiple=True, negative=())] = field(default_factory=list)
    "METHOD.KEY=VALUE or recipe.KEY=VALUE; `list` shows the keys."

    data_root: Path | None = None
    "Where the images are or will be put; default: the user's cache folder."

    out: Path = Path("runs")
    "Folder of runs and tables."


def check_positive(option: str, number: int | None) -> None:
    """Raises UserError where a number is given that is below 1."""
    if number is not None and number < 1:
        raise UserError(f"{option} {number}: give at least 1")


def check_names(
    methods: Iterable[str] | None = None, datasets: Iterable[str] | None = None, probes: Iterable[str] | None = None
) -> None:
    """Refuses misspelt names and globs by the sources of their packages: 0.1 s, where importing them takes seconds.

    Raises:
        UserError: one matches nothing.
    """
    root = Path(__file__).parent.parent
    for kind, folder, patterns in (
        ("method", "methods", methods),
        ("dataset", "data/datasets", datasets),
        ("probe", "eval/probes", probes),
    ):
        names = names_in_source(root / folder) if patterns else None
        if names is not None:
            select(kind, names, patterns or ())
