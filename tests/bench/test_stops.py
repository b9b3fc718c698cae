"""Runs that are stopped, killed, or locked by another process."""

import errno
import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file

import bench
from tests.conftest import DEADLINE, ROOT
from tests.runs import SMALL


def _progress(out):
    """Where the one run under `out` is, by its checkpoint."""
    checkpoints = list(out.glob("*/checkpoint.pt"))
    return torch.load(checkpoints[0], weights_only=True)["progress"] if checkpoints else {"epoch": -1, "step": 0}


def _weights(out):
    (file,) = out.glob("*/weights.safetensors")
    return load_file(file)


def test_ctrl_c_saves_a_checkpoint_first(tmp_path):
    asked = ["--datasets", "digitslt", "--preset", "smoke", "--methods", "simclr", "--epochs", "500", "--workers", "1"]
    start = [sys.executable, str(ROOT / "bench.py"), *asked, "--checkpoint-seconds", "1e9", "--out", str(tmp_path)]
    running = subprocess.Popen(start, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline and not any(log.read_text() for log in tmp_path.glob("*/log.jsonl")):
        time.sleep(0.01)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=DEADLINE)
    assert running.returncode == 130
    assert said.splitlines()[-1] == "bench.py: stopped; repeat the command to resume"
    assert _progress(tmp_path)["images"] > 0


@pytest.mark.slow
def test_a_run_killed_in_the_middle_of_an_epoch_ends_with_the_same_bits(tmp_path):
    """SIGKILL, then the same command: weights equal those of an uninterrupted run."""
    asked = ["--datasets", "digitslt", "--preset", "smoke", "--precision", "fp32", "--methods", "byol", "--workers", "1"]
    asked += ["--device", "cpu"]
    asked += ["--epochs", "14", "--batch-size", "16", "--probes", "knn"]
    start = [sys.executable, str(ROOT / "bench.py"), *asked]
    killed, alone = tmp_path / "killed", tmp_path / "alone"
    first = [*start, "--checkpoint-seconds", "0.1", "--out", str(killed)]
    kills = 0
    for earliest in (1, 5):
        running = subprocess.Popen(first, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + DEADLINE
        while time.monotonic() < deadline and running.poll() is None:
            running.send_signal(signal.SIGSTOP)  # so that it is killed exactly where it was seen
            if _progress(killed)["epoch"] >= earliest and _progress(killed)["step"] > 0:
                running.kill()
                kills += 1
                break
            running.send_signal(signal.SIGCONT)
            time.sleep(0.1)
        running.wait(timeout=DEADLINE)
    assert kills == 2
    assert 5 <= _progress(killed)["epoch"] < 14
    assert _progress(killed)["step"] > 0
    for command in (first, [*start, "--out", str(alone)]):
        subprocess.run(command, check=True, capture_output=True, timeout=DEADLINE)
    ours, theirs = _weights(killed), _weights(alone)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_run_that_another_process_has_locked_is_awaited(tmp_path, caplog, monkeypatch):
    from filelock import FileLock

    asked = [*SMALL, "--methods", "simclr", "--probes", "knn", "--out", str(tmp_path)]
    assert bench.main(asked) == 0
    (folder,) = tmp_path.glob("digitslt*")
    (folder / "done").unlink()
    monkeypatch.setattr("grid.execute.BUSY_SECONDS", 0.1)
    monkeypatch.setattr("grid.execute.train", None)  # the run is trained already
    caplog.set_level("INFO")
    lock = FileLock(folder / ".lock", thread_local=False)
    lock.acquire()
    monkeypatch.setattr(time, "sleep", lambda _seconds: lock.release())  # while the command waits
    assert bench.main(asked) == 0
    assert f"another process has locked {folder}; wait until it ends" in caplog.text
    assert f"delete {folder / '.lock'} if no process on any machine uses the folder" in caplog.text
    assert "waiting for 1 run of other workers" in caplog.text
    assert (folder / "done").exists()
    assert not (folder / "error.txt").exists()


def test_a_file_system_without_locks_is_an_error_of_one_line(tmp_path, capsys, monkeypatch):
    def acquire(self, timeout):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("filelock.FileLock.acquire", acquire)
    assert bench.main([*SMALL, "--methods", "simclr", "--probes", "knn", "--out", str(tmp_path)]) == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("FAILED")]
    assert "cannot be locked" in line
    assert "give an --out on a file system with locks" in line
