"""The Slurm launcher: by programs that stand for Slurm's, and on a Slurm that the tests start."""

import os
import re
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

import bench
from bench import app
from core.errors import UserError
from grid.options import GridOptions, LauncherOptions
from grid.slurm import command_line, make_launch, time_limit
from run_store.layout import RESULTS
from run_store.records import read_records
from tests.conftest import DEADLINE, ROOT
from tests.runs import SMALL
from tests.slurm_cluster import Cluster, cluster, missing, wait_until

DIGITS = ("--datasets", "digitslt", "--preset", "smoke")
SUBMIT = ("--launcher", "slurm", "--time", "1:00:00")


@pytest.fixture
def sbatch(tmp_path, monkeypatch):
    """Programs in place of Slurm's; returns the lines of the script that `sbatch` was given."""
    folder = tmp_path / "programs"
    folder.mkdir()
    for name, text in {"sbatch": f'cp "$1" {folder}/script && echo Submitted batch job 17', "srun": "exit 1"}.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def script() -> list[str]:
        return (folder / "script").read_text().splitlines() if (folder / "script").exists() else []

    return script


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("90", 90), ("90:00", 90), ("90:01", 91), ("8:00:00", 480), ("0:10:30", 11), ("2-0", 2880), ("1-2", 1560),
        ("1-2:30", 1590), ("1-02:30:01", 1591),
    ],
)  # fmt: skip
def test_time_limits_have_the_forms_of_slurm(text, minutes):
    assert time_limit(text) == minutes


@pytest.mark.parametrize(
    "text", ["", "8h", "-1", "1:2:3:4", "1-2:3:4:5", "1-", "-", "1:", "1.5", "0", "4", "1-1-1", "9999999", "٣٠"]
)
def test_other_time_limits_are_refused(text):
    with pytest.raises(UserError, match="--time"):
        time_limit(text)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--launcher", "slrum"], "--launcher"),
        (["--launcher", "slurm"], "--launcher slurm needs the time limit of a job; give it with --time"),
        (["--partition", "gpu"], "--partition has no effect without --launcher slurm"),
        (["--gpus-per-node", "2"], "--gpus-per-node has no effect without --launcher slurm"),
        ([*SUBMIT[:-1], "8h"], "--time 8h: give minutes, H:M:S"),
        ([*SUBMIT, "--nodes", "0"], "--nodes 0: give a number from 1"),
        ([*SUBMIT, "--gpus-per-node", "0"], "--gpus-per-node 0: give a number from 1"),
        ([*SUBMIT, "--array-limit", "-1"], "--array-limit -1: give a number from 1"),
        ([*SUBMIT, "--jobs", "0"], "--jobs 0: give a number from 1"),
        ([*SUBMIT, "--device", "cuda:1"], "--device cuda:1: Slurm assigns the GPUs"),
        ([*SUBMIT, "--methods", "simcrl"], "did you mean 'simclr'?"),
        ([*SUBMIT, "--batch-size", "64", "--nodes", "65"], "batch size 64 is smaller than the number of processes, 65"),
        ([*SUBMIT, "--gpus-per-node", "4", "--methods", "simclr", "--compile"], "--compile: batch norms of several processes"),
        ([*SUBMIT, "--batch-size", "9999"], "batch size 9999 is larger than digitslt's"),
    ],
)
def test_mistakes_are_reported_before_anything_is_submitted(arguments, message, tmp_path, mistake, sbatch):
    assert message in mistake(*DIGITS, "--out", tmp_path / "runs", *arguments)
    assert not sbatch()
    assert not (tmp_path / "runs" / "slurm").exists()


def test_what_is_missing_is_named(tmp_path, mistake, monkeypatch, sbatch):
    arguments = [*SMALL, *SUBMIT, "--out", tmp_path]
    monkeypatch.setitem(sys.modules, "submitit", None)
    assert "needs submitit, which is not installed: pip install submitit" in mistake(*arguments)
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert "omit torchrun" in mistake(*arguments)
    monkeypatch.delenv("WORLD_SIZE")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "this host has no sbatch and srun; repeat the command on a login node" in mistake(*arguments)


def test_what_slurm_refuses_is_one_line_and_writes_no_file(tmp_path, mistake, sbatch):
    (tmp_path / "programs" / "sbatch").write_text("#!/bin/sh\necho error: invalid partition >&2\necho refused >&2\nexit 1\n")
    line = mistake(*SMALL, *SUBMIT, "--methods", "simclr", "--partition", "gpuu", "--out", tmp_path / "runs")
    assert "Slurm refuses the jobs, none is submitted: error: invalid partition refused; correct the options" in line
    assert not list((tmp_path / "runs" / "slurm").iterdir())


def test_a_grid_is_submitted_as_a_job_array(tmp_path, capsys, sbatch):
    asked = ["--methods", "simclr", "bcl", "sdclr", "--jobs", "8", "--partition", "long", "--array-limit", "2"]
    asked += ["--workers", "3", "--nodes", "2", "--gpus-per-node", "4"]
    assert bench.main([*SMALL, *SUBMIT, *asked, "--out", str(tmp_path / "runs")]) == 0
    said = capsys.readouterr().out
    for line in ("--array=0-2%2", "--partition=long", "--time=60", "--nodes=2", "--gpus-per-node=4", "--ntasks-per-node=4",
                 "--cpus-per-task=3", "--requeue", "--signal=USR2@90"):  # fmt: skip
        assert f"#SBATCH {line}" in sbatch()
    assert "--cpus-per-task=3" in next(line for line in sbatch() if line.startswith("srun"))
    assert "3 Slurm workers of 8 processes" in said
    assert said.count("NEW ") == 3
    (folder,) = (tmp_path / "runs" / "slurm").iterdir()
    assert f"logs: {folder}/17_*_log.out\nwatch: squeue --job 17; " in said
    assert f"python {ROOT / 'bench.py'} status --out {tmp_path / 'runs'} --watch 10" in said
    assert len(list(folder.glob("17_*_submitted.pkl"))) == 3


def test_finished_runs_are_not_submitted(tmp_path, capsys, sbatch, monkeypatch):
    monkeypatch.setattr("grid.plan.Plan.states", ["DONE"])
    assert bench.main([*SMALL, *SUBMIT, "--methods", "simclr", "--out", str(tmp_path)]) == 0
    assert "nothing to submit: all runs are DONE" in capsys.readouterr().out
    assert not sbatch()


def test_the_plan_is_that_of_the_workers_gpus(sbatch):
    """On a host without a GPU, and although the workers' hosts may differ from each other."""
    options = GridOptions(methods=["simclr"], datasets=["digitslt"])
    launch = make_launch(options, LauncherOptions(launcher="slurm", time="30", gpus_per_node=1))
    (run,) = launch.plan.runs
    assert (run.config.preset, launch.plan.device.type) == ("paper", "cuda")
    words = " ".join(command_line(launch.options))
    assert "--preset paper --device cuda --precision fp32 --views torch --jobs 1" in words


@pytest.mark.parametrize("precision", ["auto", "fp32", "tf32"])
def test_gpus_are_requested_from_a_host_without_one(precision, tmp_path, capsys, sbatch):
    options = [*SUBMIT, "--methods", "simclr", "--gpus-per-node", "1", "--precision", precision, "--out", str(tmp_path)]
    assert bench.main(["--datasets", "digitslt", *options]) == 0
    assert "paper" in capsys.readouterr().out
    assert any("--gpus-per-node=1" in line for line in sbatch())


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        [
            "--methods",
            "sim*",
            "bcl",
            "--splits",
            "1",
            "2",
            "--seeds",
            "0",
            "3",
            "--set",
            "simclr.temperature=0.1",
            "recipe.lr=1",
        ],
        ["--preset", "smoke", "--batch-size", "64", "--monitor", "knn", "--monitor-every", "2", "--probes", "ts", "bcl-*"],
        ["--out", "a folder/runs", "--data-root", "data", "--workers", "2", "--epochs", "0", "--variants", "ir=10,n=11165"],
        ["--compile", "--log", "csv", "--device", "cpu", "--views", "kornia"],
    ],
)
def test_a_command_line_gives_its_options_again(arguments):
    def parse(words):
        return app.parse_args(["run", *words], exit_on_error=False, print_error=False)[1].arguments.get(
            "options", GridOptions()
        )

    assert parse(command_line(parse(arguments))) == parse(arguments)


# on a real Slurm

RUN = ("--datasets", "digitslt", "--preset", "smoke", "--precision", "fp32", "--workers", "1", "--probes", "knn")


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    """A running Slurm."""
    if reason := missing():
        pytest.skip(reason)
    with cluster(tmp_path_factory.mktemp("slurm")) as running:
        yield running


def _submit(slurm: Cluster, out, *options) -> str:
    """Submits a grid; returns the job id."""
    said = slurm.run(
        sys.executable, str(ROOT / "bench.py"), *RUN, "--launcher", "slurm", "--time", "30", "--out", str(out), *options
    )
    return re.search(r"submitted: job (\d+)", said)[1]


def _logs(out) -> str:
    return "\n".join(path.read_text() for path in sorted(out.glob("slurm/*/*.out")))


def _ends(slurm: Cluster, job: str, out) -> None:
    """Waits until a job ends; asserts that it has completed."""
    wait_until(lambda: slurm.state(job) not in ("PENDING", "RUNNING", "COMPLETING", "REQUEUED"))
    assert slurm.state(job) == "COMPLETED", _logs(out)


def _epochs(out) -> int:
    """Epochs in the log of the one run under `out`."""
    return sum(len(log.read_text().splitlines()) for log in out.glob("*/log.jsonl"))


def _logged(out, method) -> bool:
    """Whether the run of a method under `out` has completed an epoch."""
    return any(log.read_text() for log in out.glob(f"digitslt-{method}-*/log.jsonl"))


def _place(out) -> tuple[int, int]:
    """Epoch and step of the checkpoint of the one run under `out`."""
    for checkpoint in out.glob("*/checkpoint.pt"):
        progress = torch.load(checkpoint, weights_only=True)["progress"]
        return progress["epoch"], progress["step"]
    return 0, 0


@pytest.mark.slow
def test_workers_share_a_grid(slurm, tmp_path):
    job = _submit(slurm, tmp_path, "--methods", "simclr", "bcl", "sdclr", "--epochs", "2", "--jobs", "2")
    for worker in range(2):
        _ends(slurm, f"{job}_{worker}", tmp_path)
    assert len(list(tmp_path.glob("*/done"))) == 3
    assert (tmp_path / "report.html").exists()


@pytest.mark.slow
def test_a_job_that_is_stopped_three_times_ends_with_the_same_bits(slurm, tmp_path):
    """By the signals that precede a time limit or a preemption, and by Slurm itself, as in a preemption."""
    stopped, alone = tmp_path / "stopped", tmp_path / "alone"
    asked = ["--methods", "byol", "--epochs", "40", "--batch-size", "16", "--checkpoint-seconds", "1e9"]
    job = _submit(slurm, stopped, *asked)
    places = [_place(stopped)]
    for stop in (["scancel", "--signal", "USR1"], ["scancel", "--signal", "TERM"], ["scontrol", "requeue"]):
        epochs = _epochs(stopped)
        wait_until(lambda before=epochs: _epochs(stopped) > before)
        slurm.run(*stop, job)
        wait_until(lambda: int(slurm.details(job)["Restarts"]) == len(places))
        wait_until(lambda: _place(stopped) > places[-1])  # Slurm counts the restart before the job ends
        places.append(_place(stopped))
    _ends(slurm, job, stopped)
    local = [sys.executable, str(ROOT / "bench.py"), *RUN, *asked, "--device", "cpu", "--out", str(alone)]
    subprocess.run(local, check=True, capture_output=True, timeout=DEADLINE)
    files = [next(out.glob("*/weights.safetensors")) for out in (stopped, alone)]
    assert files[0].parent.name == files[1].parent.name
    ours, theirs = map(load_file, files)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.slow
def test_every_worker_of_an_array_is_requeued(slurm, tmp_path):
    job = _submit(slurm, tmp_path, "--methods", "simclr", "bcl", "--epochs", "200000", "--jobs", "2")
    wait_until(lambda: all(_logged(tmp_path, method) for method in ("simclr", "bcl")))
    slurm.run("scancel", "--signal", "USR1", job)
    for worker in range(2):
        wait_until(lambda worker=worker: int(slurm.details(f"{job}_{worker}")["Restarts"]) == 1)
    slurm.run("scancel", job)
    for worker in range(2):
        wait_until(lambda worker=worker: slurm.state(f"{job}_{worker}").startswith("CANCELLED"))


@pytest.mark.slow
def test_the_time_limit_requeues_a_job_and_scancel_does_not(slurm, tmp_path):
    job = _submit(slurm, tmp_path, "--methods", "simclr", "--epochs", "200000", "--checkpoint-seconds", "1e9")
    wait_until(lambda: _epochs(tmp_path))
    slurm.run("scontrol", "update", f"JobId={job}", "TimeLimit=3")  # the signal comes at half of it, or up to a minute earlier
    wait_until(lambda: slurm.details(job)["Restarts"] == "1")
    first, epochs = _place(tmp_path), _epochs(tmp_path)
    assert first > (0, 0), _logs(tmp_path)
    slurm.run("scontrol", "update", f"JobId={job}", "TimeLimit=30")
    wait_until(lambda: _epochs(tmp_path) > epochs)
    slurm.run("scancel", job)
    wait_until(lambda: slurm.state(job) == "CANCELLED")
    assert slurm.details(job)["Restarts"] == "1"
    assert _place(tmp_path) > first, _logs(tmp_path)


@pytest.mark.slow
def test_processes_on_two_nodes_train_one_run(slurm, tmp_path):
    job = _submit(
        slurm, tmp_path, "--methods", "simclr", "--epochs", "2", "--nodes", "2", "--gpus-per-node", "1", "--device", "cpu"
    )
    _ends(slurm, job, tmp_path)
    (results,) = tmp_path.glob(f"*/{RESULTS}")
    (record,) = read_records([results])
    assert record.processes == 2
