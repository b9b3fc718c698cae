"""Advice on options and words that a command does not have, such as options of other suites."""

import ast
from collections.abc import Mapping, Set
from contextlib import suppress
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import get_args

from core.errors import UserError, closest, nearest
from core.registry import FOLDER
from data.recipe import Recipe
from grid.options import Preset, check_names, names_of

_ADVICE = {  # on options of a grid: what to do; {value}: the word after the option
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
_RECIPE = {field.name: field.name for field in fields(Recipe)} | {
    "learning_rate": "lr",
    "wd": "weight_decay",
    "optim": "optimizer",
    "warmup": "warmup_epochs",
}
_COMMANDS = {  # for words that are commands of other suites: what to do
    "`run` trains a grid, as does bench.py without a command": ("train", "pretrain", "fit", "start", "main"),
    "a stopped run resumes when the command is repeated": ("resume",),
    "did you mean 'probe'?": ("eval", "evaluate", "test"),
    "did you mean 'report'?": ("tables", "figures", "plot", "results"),
    "did you mean 'data'?": ("download",),
    "did you mean 'list'?": ("methods", "datasets", "models"),
    "did you mean --help?": ("help",),
    "did you mean --version?": ("version",),
}
_SELECTING = ("--methods", "--datasets", "--probes")
_METHODS = Path(__file__).parent.parent / "methods"


def about_option(option: str, value: str, options: Set[str]) -> str:
    """One line on an option that a command does not have.

    Args:
        option: as typed, without its value.
        value: the word after it, or empty.
        options: those of the command.
    """
    name = option.removeprefix("--").replace("_", "-")
    answer = _advice(_ADVICE, name) if "--seeds" in options else None  # a command of a grid
    if answer is None and "--set" in options and (setting := setting_of(name)) is not None:
        answer = f"did you mean --set {setting}={{value}}?"
    if answer is None:
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
    known = _advice(_COMMANDS, word.lower()) if commands or word == "help" else None
    meant = [f"{option} {word}" for option in _SELECTING if option in options and _selects(option, word)]
    if "--preset" in options and word.lower() in get_args(Preset):
        meant.append(f"--preset {word}")
    if "--out" in options and Path(word).is_dir():
        meant.append(f"--out {word}")
    if not meant and not closest(word, commands):
        near = {option: closest(word, names_of(option) or ()) for option in _SELECTING if option in options}
        meant = next(([" or ".join(f"{option} {name}" for name in names)] for option, names in near.items() if names), [])
    if known is not None:
        answer = f"; {known}"
    elif meant:
        answer = f"; did you mean {meant[0]}?"
    else:
        answer = nearest(word, commands) if commands else "; --help prints the options"
    return f"{word!r} is neither a command nor an option{answer}"


def setting_of(name: str) -> str | None:
    """The setting of `--set` that a name means: of the recipe, or of METHOD, a placeholder; None if there is none."""
    owner, dot, key = name.rpartition(".")
    key = key.replace("-", "_")
    if key in _RECIPE and owner in ("", "recipe"):
        return f"recipe.{_RECIPE[key]}"
    return f"{owner if dot else 'METHOD'}.{key}" if key in _hyper_parameters() and owner != "recipe" else None


def _advice(texts: Mapping[str, tuple[str, ...]], name: str) -> str | None:
    return next((text for text, names in texts.items() if name in names), None)


def _selects(option: str, word: str) -> bool:
    """Whether a word is a name, glob or group of the values of an option, or the prefix of several names."""
    if word.lower().startswith(FOLDER):
        return option == "--datasets"
    try:
        check_names(**{option.removeprefix("--"): [word]})
    except UserError:
        return False
    return True


@cache
def _hyper_parameters() -> frozenset[str]:
    """Hyper-parameters of all methods, parsed from source, which is faster than importing them; without files in error."""
    names = set()
    for file in _METHODS.glob("*.py"):
        with suppress(SyntaxError):
            for node in ast.walk(ast.parse(file.read_bytes())):
                match node:
                    case ast.AnnAssign(target=ast.Name(id=name), value=ast.Call(func=ast.Name(id="setting"))):
                        names.add(name)
    return frozenset(names)
