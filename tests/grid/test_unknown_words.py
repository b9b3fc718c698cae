import re

import pytest

from bench import app
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
    ],
)
def test_answers(mistake, arguments, answer, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    line = mistake(*arguments)
    assert answer in line
    suggested = re.search(r"did you mean (--.*)\?$", line)
    if suggested:  # can be typed as it is
        words = suggested[1].split()
        command = arguments[:1] if arguments[0] in app else []
        parse([*command, *words, *(["1"] if len(words) == 1 else [])])
