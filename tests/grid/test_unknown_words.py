import re
from dataclasses import fields

import pytest

from bench import app
from data.recipe import Recipe
from grid.unknown_words import setting_of
from methods import METHODS
from tests.test_docs import parse


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        (["--lr", "0.1"], "no option --lr; did you mean --set recipe.lr=0.1?"),
        (["--lr=0.1"], "no option --lr; did you mean --set recipe.lr=0.1?"),
        (["plan", "--learning-rate", "0.1"], "no option --learning-rate; did you mean --set recipe.lr=0.1?"),
        (["--weight_decay", "0"], "no option --weight_decay; did you mean --set recipe.weight_decay=0?"),
        (["--resume"], "no option --resume; a stopped run resumes when the command is repeated"),
        (["--gpus", "2"], "for several GPUs per run start torchrun --nproc_per_node=2 bench.py"),
        (["--gpus", "--jobs", "2"], "for a run per GPU give --jobs gpus;"),
        (["--list-methods"], "no option --list-methods; `python bench.py list` prints all names"),
        (["--imbalance", "50"], "no option --imbalance; did you mean --variants ir=50?"),
        (["--num_workers", "4"], "no option --num_workers; did you mean --workers?"),
        (["--dry-run"], "`python bench.py plan` prints the runs"),
        (["--seed", "1"], "no option --seed; did you mean --seeds?"),
        (["--zzz"], "no option --zzz; --help prints the options"),
        (["verify-resume", "simclr", "--gpus", "2"], "no option --gpus; --help prints the options"),
        (["report", "--lr", "1"], "no option --lr; --help prints the options"),
        (["simclr"], "'simclr' is neither a command nor an option; did you mean --methods simclr?"),
        (["plan", "SimCLR"], "did you mean --methods SimCLR?"),
        (["plan", "cifar10lt"], "did you mean --datasets cifar10lt?"),
        (["ridge"], "did you mean --probes ridge?"),
        (["smoke"], "did you mean --preset smoke?"),
        (["report", "."], "'.' is neither a command nor an option; did you mean --out .?"),
        (["status", "simclr"], "'simclr' is neither a command nor an option; --help prints the options"),
        (["plann"], "did you mean 'plan'?"),
        (["--temperature", "0.5"], "no option --temperature; did you mean --set METHOD.temperature=0.5?"),
        (["plan", "--out-dim=64"], "no option --out-dim; did you mean --set METHOD.out_dim=64?"),
        (["--warmup", "5"], "no option --warmup; did you mean --set recipe.warmup_epochs=5?"),
        (["verify-resume", "simclr", "--prune", "0.5"], "no option --prune; did you mean --set METHOD.prune=0.5?"),
        (["report", "--temperature", "1"], "no option --temperature; --help prints the options"),
        (["moco"], "'moco' is neither a command nor an option; did you mean --methods mocov2 or --methods mocov3?"),
        (["plan", "moco"], "did you mean --methods mocov2 or --methods mocov3?"),
        (["cifar10"], "did you mean --datasets cifar10lt?"),
        (["sim*"], "did you mean --methods sim*?"),
        (["baselines"], "did you mean --methods baselines?"),
        (["folder:images"], "did you mean --datasets folder:images?"),
        (["train"], "'train' is neither a command nor an option; `run` trains a grid, as does bench.py without a command"),
        (["train", "--methods", "simclr"], "`run` trains a grid"),
        (["status", "train"], "'train' is neither a command nor an option; --help prints the options"),
        (["evaluate"], "did you mean 'probe'?"),
        (["help"], "did you mean --help?"),
        (["plan", "help"], "did you mean --help?"),
        (["version"], "did you mean --version?"),
    ],
)
def test_answers(mistake, arguments, answer, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    line = mistake(*arguments)
    assert answer in line
    suggested = re.search(r"did you mean (--.*)\?$", line)
    if suggested and suggested[1] not in ("--help", "--version"):  # can be typed as it is
        words = suggested[1].split()
        first = next((place for place, word in enumerate(arguments) if word.startswith("-")), 1)
        command = arguments[:first] if arguments[0] in app else []
        parse([*command, *words, *(["1"] if len(words) == 1 else [])])


def test_settings_are_those_of_the_recipe_and_of_methods():
    for name, method in METHODS:
        for field in fields(method.Hparams):
            assert setting_of(f"{name}.{field.name}") == f"{name}.{field.name}"
            # alone, `warmup` is more often that of the learning rate than that of a method
            expected = "recipe.warmup_epochs" if field.name == "warmup" else f"METHOD.{field.name}"
            assert setting_of(field.name) == expected
    for field in fields(Recipe):
        assert setting_of(field.name) == f"recipe.{field.name}"
    assert setting_of("temprature") is None
