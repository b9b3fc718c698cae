"""A grid shared by several processes: the same bits as one process, and a stop that loses nothing."""

import re
import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file

from tests.conftest import DEADLINE, ROOT
from tests.runs import SMALL


def _command(out, *options, epochs="2"):
    small = list(SMALL)
    small[small.index("--epochs") + 1] = epochs
    asked = [*small, "--methods", "simclr", "bcl", "sdclr", "--workers", "1", "--probes", "knn", "--out", str(out)]
    return [sys.executable, str(ROOT / "bench.py"), *asked, *options]


def _weights(out):
    """Every run's weights, by the name of its folder."""
    return {file.parent.name: load_file(file) for file in out.glob("*/weights.safetensors")}


@pytest.mark.slow
def test_processes_share_a_grid_and_train_the_same_bits(tmp_path):
    together, alone = tmp_path / "together", tmp_path / "alone"
    finished = subprocess.run(_command(together, "--jobs", "2"), capture_output=True, text=True, timeout=DEADLINE)
    assert finished.returncode == 0, finished.stderr
    assert "leaked" not in finished.stderr  # as where processes are ended by a signal
    assert "2 processes of 1 thread, fp32" in finished.stdout
    for ended in (1, 2):
        told = rf"{ended} of 3 runs ended(, about \d+ s left)?; digitslt \(variant own\), test accuracy in %, probe knn:\n"
        assert re.search(told, finished.stdout)
    assert finished.stdout.count("written: ") == 3  # tables, figures and page once, at the end
    subprocess.run(_command(alone, "--jobs", "1"), check=True, capture_output=True, timeout=DEADLINE)
    ours, theirs = _weights(together), _weights(alone)
    assert len(ours) == 3
    assert ours.keys() == theirs.keys()
    for name, tensors in ours.items():
        assert all(torch.equal(tensor, theirs[name][key]) for key, tensor in tensors.items())


@pytest.mark.slow
def test_a_stopped_grid_saves_every_run_and_goes_on(tmp_path):
    endless = _command(tmp_path, "--jobs", "2", "--checkpoint-seconds", "1e9", epochs="2000")
    running = subprocess.Popen(endless, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + DEADLINE
    while sum(bool(log.read_text()) for log in tmp_path.glob("*/log.jsonl")) < 2:
        assert running.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    running.send_signal(signal.SIGTERM)
    _, said = running.communicate(timeout=DEADLINE)
    assert running.returncode == 130
    assert said.splitlines()[-1] == "bench.py: stopped; repeat the command to resume"
    assert "Traceback" not in said
    assert len(list(tmp_path.glob("*/checkpoint.pt"))) == 2
    planned = subprocess.run([endless[0], endless[1], "plan", *endless[2:-2]], capture_output=True, text=True, timeout=DEADLINE)
    assert "0 DONE, 2 RESUMABLE, 1 NEW" in planned.stdout
