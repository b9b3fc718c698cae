"""One run trained by several processes, as torchrun starts them."""

import os
import pickle
import signal
import socket
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file

import bench
from core.errors import ProcessEnded, UserError
from grid.options import GridOptions
from grid.plan import make_plan, with_states
from grid.torchrun import process_group
from methods import METHODS, Output
from parallel import processes
from run_store.layout import RESULTS
from run_store.records import read_records
from tests.conftest import DEADLINE, ROOT
from tests.runs import SMALL


def _arguments(out, epochs):
    small = list(SMALL)
    small[small.index("--epochs") + 1] = epochs
    small += ["--methods", "simclr", "--workers", "1", "--probes", "knn", "--checkpoint-seconds", "0.1"]
    return [*small, "--out", str(out)]


def _start(out, epochs):
    """Two processes with the environment that torchrun gives them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return [
        subprocess.Popen(
            [sys.executable, str(ROOT / "bench.py"), *_arguments(out, epochs)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(2)
    ]  # fmt: skip


def _wait_for_epochs(out, both, epochs):
    deadline = time.monotonic() + DEADLINE
    while sum(len(log.read_text().splitlines()) for log in out.glob("*/log.jsonl")) < epochs:
        assert time.monotonic() < deadline
        assert all(process.poll() is None for process in both)
        time.sleep(0.05)


def _ends(both):
    """Exit status, standard output and error of both processes."""
    try:
        ends = [process.communicate(timeout=DEADLINE) for process in both]
    finally:
        for process in both:
            process.kill()
    return [(process.returncode, *texts) for process, texts in zip(both, ends, strict=True)]


@pytest.mark.slow
def test_torchrun_trains_and_probes_one_run(tmp_path):
    together, alone = tmp_path / "together", tmp_path / "alone"
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", str(ROOT / "bench.py")]
    done = subprocess.run([*start, *_arguments(together, "2")], capture_output=True, text=True, timeout=DEADLINE)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\nSimCLR ") == 2  # summary and table: only the main process prints
    assert bench.main(_arguments(alone, "2")) == 0
    files = [next(out.glob("*/weights.safetensors")) for out in (together, alone)]
    assert files[0].parent.name == files[1].parent.name
    (record,) = read_records([files[0].parent / RESULTS])
    assert record.processes == 2
    ours, theirs = map(load_file, files)
    differences = [(ours[name].double() - tensor.double()).abs().max().item() for name, tensor in theirs.items()]
    assert max(differences) < 0.01  # of float32 and the bfloat16 of Muon, after 12 steps


@pytest.mark.slow
def test_a_killed_process_ends_the_run_which_one_process_finishes(tmp_path):
    both = _start(tmp_path, "60")
    _wait_for_epochs(tmp_path, both, 3)
    both[1].kill()
    (status, _, said), (killed, _, _) = _ends(both)
    assert (status, killed) == (1, -signal.SIGKILL)
    assert said.splitlines()[-1] == (
        "bench.py: process 0 of 2 lost the connection to another one, which ended; repeat the command to resume"
    )
    assert "Traceback" not in said
    (checkpoint,) = tmp_path.glob("*/checkpoint.pt")
    assert bench.main(_arguments(tmp_path, "60")) == 0
    assert (checkpoint.parent / "done").exists()


@pytest.mark.slow
def test_a_stop_signal_to_all_saves_one_checkpoint(tmp_path):
    both = _start(tmp_path, "2000")
    _wait_for_epochs(tmp_path, both, 2)
    for process in both:
        process.send_signal(signal.SIGTERM)
    (status, _, said), (other, nothing, silent) = _ends(both)
    assert (status, other) == (130, 130)
    assert said.splitlines()[-1] == "bench.py: stopped; repeat the command to resume"
    assert "Traceback" not in said + silent
    assert nothing == ""
    assert len(list(tmp_path.glob("*/checkpoint.pt"))) == 1


def test_what_several_processes_cannot_do_is_refused(tmp_path, mistake, monkeypatch):
    monkeypatch.setattr(processes, "count", lambda: 65)
    arguments = [*SMALL, "--methods", "simclr", "--out", tmp_path]
    assert "batch size 64 is smaller than the number of processes, 65" in mistake("plan", *arguments)
    assert "--jobs has no effect under torchrun" in mistake("plan", *arguments, "--jobs", "2")
    monkeypatch.setattr(METHODS["simclr"], "loss", lambda self, batch: Output(batch.views[0].sum(), batch.index))
    assert "simclr overrides `loss` and cannot be trained by 65 processes" in mistake("plan", *arguments)


@pytest.mark.parametrize(
    ("device", "error"),
    [
        ("cuda:0", "--device cuda:0: torchrun gives each process a GPU"),
        ("cuda", "torchrun started 3 processes on a machine with 2"),
    ],
)
def test_each_process_needs_a_gpu_of_its_own(device, error, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for name, value in {"WORLD_SIZE": "3", "LOCAL_WORLD_SIZE": "3", "LOCAL_RANK": "2"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises((UserError, ProcessEnded), match=error), process_group(device):
        pass


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"WORLD_SIZE": "4"}, "WORLD_SIZE is 4, but RANK and MASTER_ADDR and MASTER_PORT are not set; start with torchrun"),
        ({"WORLD_SIZE": "4", "RANK": "1", "MASTER_ADDR": "127.0.0.1"}, "but MASTER_PORT is not set"),
        ({"WORLD_SIZE": "four"}, "WORLD_SIZE is 'four', not a number"),
        ({"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": ""}, "LOCAL_RANK is '', not a number"),
        ({"WORLD_SIZE": "2", "RANK": "one", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}, "RANK is 'one', not a number"),
    ],
)
def test_an_incomplete_environment_is_one_line_of_each_process(variables, said, tmp_path, capsys, monkeypatch):
    for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert bench.main([*SMALL, "--methods", "simclr", "--out", str(tmp_path)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


@pytest.mark.parametrize(("prepare", "state"), [(with_states, "NEW"), (lambda plan: plan, "FAILED")])
def test_a_plan_is_sent_with_the_states_of_the_main_process(prepare, state, tmp_path):
    options = GridOptions(methods=["simclr"], datasets=["digitslt"], preset="smoke", device="cpu", out=tmp_path)
    plan = make_plan(options)
    sent = pickle.dumps(prepare(plan))
    (run,) = plan.runs
    run.create()
    run.error.write_text("failed after the main process read the states")
    assert pickle.loads(sent).states == [state]
