"""`--config FILE` gives the options that its lines give on the command line."""

from pathlib import Path

import pytest
import torch
import yaml

import bench
from bench import app
from core.errors import UserError
from data.views.backend import BACKENDS
from grid.options import GridOptions, LauncherOptions, option_of
from grid.options_file import KEYS, OPTIONS_FILE, save_options
from grid.plan import make_plan, resolved_options
from tests.folders import class_images, write_images
from tests.runs import SMALL


def parsed(*words: str) -> tuple:
    """Options, launcher and seconds of a command line of `run`."""
    _, bound, _ = app.parse_args(["run", *words], exit_on_error=False, print_error=False)
    given = bound.arguments
    return (
        given.get("options", GridOptions()),
        given.get("launcher", LauncherOptions()),
        given.get("checkpoint_seconds", 60.0),
    )


@pytest.fixture
def config(tmp_path):
    def write(text: str, name: str = "options.yaml") -> list[str]:
        (tmp_path / name).write_text(text, encoding="utf-8")
        return ["--config", str(tmp_path / name)]

    return write


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.yaml", "methods: simclr", ["--methods", "simclr"]),
        ("a.yaml", "methods: [simclr, byol]\nseeds:\n- 0\n- 2-3", ["--methods", "simclr", "byol", "--seeds", "0", "2", "3"]),
        ("a.yaml", "batch-size: 64\nmonitor_every: 3", ["--batch-size", "64", "--monitor-every", "3"]),
        ("a.yaml", "time: 8:00:00\nlauncher: slurm\nnodes: 2", ["--time", "8:00:00", "--launcher", "slurm", "--nodes", "2"]),
        ("a.yaml", "compile: true\nepochs: null\nout: ~\nviews:", ["--compile"]),
        ("a.yaml", "compile: false\nviews: dali\nmonitor: none", ["--views", "dali"]),
        ("a.yaml", "jobs: gpus\ncheckpoint_seconds: 1e9", ["--jobs", "gpus", "--checkpoint-seconds", "1e9"]),
        ("a.yaml", "methods: []\nset: []", ["--methods"]),
        ("a.yaml", "set: [simclr.prune=1e-1, 'recipe.sizes=16,24']", ["--set", "simclr.prune=1e-1", "recipe.sizes=16,24"]),
        ("a.yaml", "\ufeffout: läufe # text", ["--out", "läufe"]),
        (
            "a.toml",
            'methods = "ts,byol"\nseeds = [0, 1]\ncompile = true',
            ["--methods", "ts", "byol", "--seeds", "0-1", "--compile"],
        ),
    ],
)
def test_a_file_gives_the_options_of_its_lines(config, name, text, words):
    assert parsed(*config(text, name)) == parsed(*words)


def test_the_command_line_has_priority(config):
    given = config("methods: [simclr, byol]\nepochs: 3\nseeds: [1]")
    assert parsed(*given, "--methods", "ts", "--epochs", "0") == parsed("--methods", "ts", "--epochs", "0", "--seeds", "1")


def test_plan_ignores_options_of_run(config):
    given = config("launcher: slurm\ntime: 8:00:00\ncheckpoint_seconds: 3\nseeds: 4")
    _, bound, _ = app.parse_args(["plan", *given], exit_on_error=False, print_error=False)
    assert bound.arguments["options"] == GridOptions(seeds=[4])


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.yaml", "epoch: 3", "no option 'epoch'; did you mean 'epochs'?"),
        ("a.yaml", "config: a.yaml", "no option 'config'; choose from: accumulate"),
        ("a.yaml", "lr: 0.1", "no option 'lr'; did you mean set: recipe.lr=0.1?"),
        ("a.yaml", "learning-rate: 1e-1", "no option 'learning_rate'; did you mean set: recipe.lr=1e-1?"),
        ("a.yaml", "sizes: [16, 24]", "no option 'sizes'; did you mean set: recipe.sizes=16,24?"),
        ("a.yaml", "recipe.lr: 0.1", "no option 'recipe.lr'; did you mean set: recipe.lr=0.1?"),
        ("a.yaml", "temperature: 0.5", "no option 'temperature'; did you mean set: METHOD.temperature=0.5?"),
        ("a.yaml", "simclr.temperature: 0.5", "did you mean set: simclr.temperature=0.5?"),
        ("a.yaml", "bcl-d.out-dim: 64", "did you mean set: bcl-d.out_dim=64?"),
        ("a.toml", "weight_decay = 0", "no option 'weight_decay'; did you mean set: recipe.weight_decay=0?"),
        ("a.yaml", "epochs: [1, 2]", "epochs is a list; give one value"),
        ("a.yaml", "epochs: 3\nseeds: 1\nepochs: 4", "line 1: epochs is given twice"),
        ("a.yaml", "batch-size: 3\nbatch_size: 3", "batch_size is given twice"),
        ("a.toml", "epochs = 3\nepochs = 4", "Cannot overwrite a value"),
        ("a.yaml", "set: {recipe.lr: 1}", "set is neither a value nor a list of values"),
        ("a.yaml", "seeds: [[1]]", "seeds is neither a value nor a list of values"),
        ("a.yaml", "seeds: [1, null]", "seeds is neither a value nor a list of values"),
        ("a.yaml", r'out: "\ud800"', "out has characters that no file name can have"),
        ("a.yaml", "- epochs", "has no options; write lines such as `seeds: [0, 1]`"),
        ("a.yaml", "", "has no options"),
        ("a.yaml", "seeds: [1", "line 1"),
        ("a.yaml", "epochs: &a [*a]", "cannot be read"),
        ("a.yaml", "epochs: many", "a.yaml: epochs: 'many' is not an integer"),
        ("a.yaml", "seeds: [1, x]", "a.yaml: seeds: 'x' is not an integer"),
        ("a.yaml", "precision: huge", "a.yaml"),
        ("a.yaml", "preset: huge", "huge"),
        ("a.yaml", "splits: 3-1", "'3-1' is not a range"),
        ("a.yaml", "batch_size: 3\nset: recipe.batch_size=4", "--batch-size 3 contradicts --set recipe.batch_size=4"),
    ],
)
def test_mistakes(mistake, config, name, text, message):
    assert message in mistake("plan", *config(text, name))


@pytest.mark.parametrize("name", ["missing.yaml", "."])
def test_a_file_that_cannot_be_read(mistake, tmp_path, name):
    assert "give a YAML or TOML file of options" in mistake("--config", tmp_path / name)


def test_text_that_is_not_utf8(mistake, tmp_path):
    (tmp_path / "a.yaml").write_bytes(b"out: \xff")
    assert "cannot be read" in mistake("--config", tmp_path / "a.yaml")


def test_a_file_can_have_every_option_of_run():
    assert {option_of(key) for key in KEYS} | {"--config"} == {
        name for argument in app["run"].assemble_argument_collection() for name in argument.names if name.startswith("--")
    }


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--methods", "simclr", "colt", "--splits", "1-3", "--seeds", "0", "7", "--variants", "ir=10,n=100", "cao"],
        ["--compile", "--jobs", "gpus", "--monitor", "knn", "--monitor-every", "2", "--views", "torch"],
        ["--launcher", "slurm", "--time", "1-0", "--partition", "null", "--nodes", "2", "--checkpoint-seconds", "inf"],
        [
            "--set",
            "recipe.sizes=16,24",
            "simclr.temperature=cosine:0.1:1.0:20%",
            "colt.pool=folder:/größe #1",
            "--data-root",
            "~",
        ],
        ["--data-root", "/a: b", "--device", "cuda:1", "--epochs", "0", "--precision", "bf16"],
        ["--data-root", "/\udcff\n'\"", "--backbone", "true"],
    ],
)
def test_saved_options_are_read_again(tmp_path, words):
    given = parsed(*words, "--out", str(tmp_path))
    save_options(*given)
    file = tmp_path / OPTIONS_FILE
    content = file.read_bytes()
    assert parsed("--config", str(file)) == given
    save_options(*parsed("--config", str(file)))
    assert file.read_bytes() == content
    assert set(yaml.safe_load(content)) == set(KEYS)


def test_a_grid_writes_its_options_and_repeats_from_them(tmp_path, capsys):
    out = tmp_path / "runs"
    assert bench.main([*SMALL, "--methods", "simclr", "--probes", "knn", "--seeds", "5", "--out", str(out)]) == 0
    content = (out / OPTIONS_FILE).read_bytes()
    assert bench.main(["plan", "--config", str(out / OPTIONS_FILE)]) == 0
    assert "1 DONE, 0 RESUMABLE, 0 NEW" in capsys.readouterr().out
    assert bench.main(["--config", str(out / OPTIONS_FILE)]) == 0
    assert (out / OPTIONS_FILE).read_bytes() == content


MACHINES = {  # device, whether it has bfloat16, OOD pools on disk
    "laptop": ("cpu", False, ()),
    "server": ("cpu", True, ("cifar100",)),
    "workstation": ("cuda", True, ("300k",)),
    "cluster": ("cuda", False, ("300k", "cifar100")),
}


@pytest.fixture
def ids(monkeypatch, tmp_path):
    """Run ids of a plan on one of MACHINES, which its resolved options are saved from."""

    def of(machine: str, *words: str) -> list[str]:
        device, bf16, pools = MACHINES[machine]
        for module in ("grid.plan", "training.device"):
            monkeypatch.setattr(f"{module}.has_bf16", lambda device: bf16)
        monkeypatch.setattr(BACKENDS["dali"], "missing_dependency", lambda device: None)
        monkeypatch.setattr("grid.plan.best_pool", lambda root, without, order: next((p for p in order if p in pools), "emoji"))
        options, *rest = parsed(*words)
        plan = make_plan(options, torch.device(device))
        save_options(resolved_options(options, plan), *rest)
        return [run.config.run_id for run in plan.runs]

    return of


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(
    "words",
    [
        ["--methods", "simclr", "ts", "--datasets", "digitslt", "--seeds", "0-1"],
        ["--methods", "sim*", "--datasets", "*10lt", "imagenet100lt", "--variants", "balanced"],
        ["--methods", "simclr", "--datasets", "imagenet100lt", "cifar10lt", "--preset", "smoke"],
        ["--methods", "simclr", "--precision", "fp32", "--views", "torch", "--epochs", "5", "--set", "temperature=0.5"],
        ["--methods", "colt", "sdclr+colt", "--datasets", "cifar10lt", "--set", "colt.pool=auto"],
        ["--methods", "colt", "--datasets", "cifar10lt", "digitslt", "--set", "budget=100"],
        ["--methods", "colt", "--preset", "smoke", "--set", "colt.pool=emoji", "colt.budget=50"],
    ],
    ids=" ".join,
)
def test_saved_options_give_the_same_runs_on_another_machine(ids, machine, words, tmp_path):
    made = ids(machine, *words, "--out", str(tmp_path), "--data-root", str(tmp_path))
    for other in MACHINES:
        assert ids(other, "--config", str(tmp_path / OPTIONS_FILE)) == made


def test_saved_options_have_the_folder_of_the_images(ids, tmp_path):
    write_images(tmp_path / "pets", class_images({"a": 16, "b": 15, "c": 14}))
    words = ["--methods", "simclr", "--preset", "cpu", "--batch-size", "8", "--out", str(tmp_path)]
    made = ids("server", *words, "--datasets", "digits*", f"folder:{tmp_path / 'pets'}")
    saved = yaml.safe_load((tmp_path / OPTIONS_FILE).read_bytes())
    assert saved["datasets"] == ["digitslt", f"folder:{tmp_path / 'pets'}"]
    assert saved["views"] == "torch+torchvision"
    assert ids("cluster", "--config", str(tmp_path / OPTIONS_FILE)) == made


def test_a_grid_that_is_refused_writes_no_options(mistake, tmp_path):
    mistake(*SMALL, "--methods", "simclr", "--set", "lr=hot", "--out", tmp_path / "runs")
    assert not Path(tmp_path / "runs").exists()


def test_an_unwritable_folder_is_one_line(tmp_path):
    (tmp_path / "runs").write_text("")
    with pytest.raises(UserError, match="choose another folder"):
        save_options(GridOptions(out=tmp_path / "runs"), LauncherOptions(), 60.0)
