"""Answers to options and words that a command does not have, such as options of other suites."""

from collections.abc import Set
from dataclasses import fields
from pathlib import Path
from typing import get_args

from core.errors import closest, nearest
from data.recipe import Recipe
from grid.options import Preset, names_of

_ANSWERS = {  # to options of a grid: what to do; {value}: the word after the option
    "a stopped run resumes when the command is repeated": ("resume", "resume-from", "auto-resume"),
    "to train a run again, delete its folder, or choose another folder with --out": ("overwrite", "force"),
    "`python bench.py plan` prints the runs and trains nothing": ("dry-run",),
    "`python bench.py list` prints all names": ("list", "list-methods", "list-datasets", "list-models", "list-probes"),
    "for a run per GPU give --jobs gpus; for several GPUs per run start torchrun --nproc_per_node={value} bench.py": (
        *("gpus", "num-gpus", "ngpus", "devices"),
    ),
    "did you mean --precision bf16?": ("amp", "bf16", "fp16", "mixed-precision"),
    "did you mean --variants ir={value}?": ("imbalance", "imbalance-ratio", "imb-ratio", "ir"),
    "did you mean --variants ir=RATIO, with the largest class count divided by the smallest?": ("imb-factor",),
    "did you mean --backbone?": ("model", "arch", "network"),
    "did you mean --data-root?": ("data", "data-dir", "data-path", "root"),
    "did you mean --out?": ("output", "output-dir", "save-dir", "log-dir"),
    "did you mean --workers?": ("num-workers",),
}
_RECIPE = {field.name: field.name for field in fields(Recipe)} | {"learning_rate": "lr", "wd": "weight_decay"}


def about_option(option: str, value: str, options: Set[str]) -> str:
    """One line on an option that a command does not have.

    Args:
        option: as typed, without its value.
        value: the word after it, or empty.
        options: those of the command.
    """
    name = option.removeprefix("--").replace("_", "-")
    answer = next((answer for answer, names in _ANSWERS.items() if name in names), None)
    setting = _RECIPE.get(name.replace("-", "_"))
    if setting is not None:
        answer = f"did you mean --set recipe.{setting}={{value}}?"
    if answer is None or "--seeds" not in options:  # not a command of a grid
        close = closest(option, sorted(options))
        answer = f"did you mean {' or '.join(close)}?" if close else "--help prints the options"
    return f"no option {option}; {answer.format(value=value or 'VALUE')}"


def about_word(word: str, commands: Set[str], options: Set[str]) -> str:
    """One line on a word that is neither a command nor the value of an option.

    Args:
        word: as typed.
        commands: those that the word could have been, if any.
        options: those of the command.
    """
    names = {option: names_of(option) or [] for option in ("--methods", "--datasets", "--probes")}
    names["--preset"] = list(get_args(Preset))
    matching = [option for option in names if option in options and word.lower() in names[option]]
    if matching:
        answer = f"; did you mean {matching[0]} {word}?"
    elif "--out" in options and Path(word).is_dir():
        answer = f"; did you mean --out {word}?"
    else:
        answer = nearest(word, commands) if commands else "; --help prints the options"
    return f"{word!r} is neither a command nor an option{answer}"
