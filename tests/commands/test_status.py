"""The commands `status` and `doctor --out`."""

import re
import subprocess
import sys
from datetime import datetime

import pytest

import bench
from commands import doctor
from commands.status import seconds_left, status
from run_store.lease import Activity, FoundLease
from run_store.states import RunStatus, save_grid
from tests.conftest import DEADLINE, ROOT
from tests.shared_runs import DONE, make_run, write_lease

TRAINING = {"phase": "training", "epoch": 3, "epochs": 10, "images_per_second": 812.4, "seconds_left": 130.0}


@pytest.fixture
def out(tmp_path):
    save_grid(tmp_path, {"a": ["knn"], "b": ["knn"], "c": ["knn"], "d": ["knn"], "e": ["knn"]})
    make_run(tmp_path / "a", *DONE)
    write_lease(make_run(tmp_path / "b", "config"), activity=TRAINING)
    make_run(tmp_path / "c", "config", "checkpoint")
    make_run(tmp_path / "d", "config", "error")
    return tmp_path


def test_one_line_for_each_run(out):
    text, over = status(out)
    *lines, summary = text.splitlines()
    assert lines == [
        "DONE       a",
        "RUNNING    b  far:77  training  epoch 3/10  812 images/s  2 min left",
        "RESUMABLE  c",
        "FAILED     d  Diverged: the loss is not finite",
        "NEW        e",
    ]
    left = "about 3 min left"  # 130 s of b, then 30.5 s each of c and e
    assert re.fullmatch(rf"1 DONE, 1 RUNNING, 1 RESUMABLE, 1 FAILED, 1 NEW; {left}, until [\d-]{{10}} [\d:]{{5}}", summary)
    datetime.strptime(summary.rpartition("until ")[2], "%Y-%m-%d %H:%M")
    assert not over


@pytest.mark.parametrize("phase", ["preparing", "probing"])
def test_a_worker_that_does_not_train(phase, out):
    write_lease(out / "b", activity={"phase": phase})
    lines = status(out)[0].splitlines()
    assert lines[1] == f"RUNNING    b  far:77  {phase}"
    assert lines[-1] == "1 DONE, 1 RUNNING, 1 RESUMABLE, 1 FAILED, 1 NEW"


def _run(state, left=None, seconds=None):
    lease = FoundLease("0" * 16, "far:77", False, 0.0, 0.0, Activity("training", seconds_left=left))
    return RunStatus("run", state, lease if state == "RUNNING" else None, "", seconds)


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        ([_run("DONE", seconds=10)], None),
        ([_run("RUNNING", 60), _run("NEW")], None),  # how long a run takes is unknown
        ([_run("RUNNING", 60)], 60),
        ([_run("RUNNING", 60), _run("RUNNING", 20)], 60),
        ([_run("RUNNING", 60), _run("RUNNING", 20), _run("NEW"), _run("RESUMABLE"), _run("DONE", seconds=50)], 90),
        ([_run("RUNNING", 60), _run("RUNNING"), _run("NEW"), _run("DONE", seconds=100)], 80),
        ([_run("RUNNING", 60), _run("FAILED"), _run("DONE", seconds=100)], 60),
    ],
)
def test_the_time_left(runs, expected):
    assert seconds_left(runs) == expected


def test_status_needs_no_torch_and_writes_no_file(out):
    before = sorted(out.rglob("*"))
    code = "import bench, sys; print(bench.main(sys.argv[1:]), 'torch' in sys.modules)"
    start = [sys.executable, "-c", code, "status", "--out", str(out)]
    said = subprocess.run(start, cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE)
    assert said.stdout.splitlines()[-1] == "0 False", said.stderr
    assert sorted(out.rglob("*")) == before


def test_watch_prints_changes_until_all_runs_have_ended(out, monkeypatch, capsys):
    rounds = iter(range(5))

    def sleep(seconds):
        assert seconds == 7
        match next(rounds):
            case 1:
                for name in "bce":
                    make_run(out / name, *DONE)
            case 2:
                raise AssertionError

    monkeypatch.setattr("time.sleep", sleep)
    assert bench.main(["status", "--out", str(out), "--watch", "7"]) == 0
    first, second = capsys.readouterr().out.split("\n\n")
    assert "1 NEW; about" in first
    assert second.splitlines()[-1] == "4 DONE, 0 RUNNING, 0 RESUMABLE, 1 FAILED, 0 NEW"


def test_ctrl_c_ends_the_watch(out, monkeypatch, capsys):
    def interrupt(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr("time.sleep", interrupt)
    assert bench.main(["status", "--out", str(out), "--watch", "1"]) == 0
    assert capsys.readouterr().err == ""


def test_mistakes_are_one_line(tmp_path, mistake):
    assert f"{tmp_path} has no runs; start a grid first" in mistake("status", "--out", tmp_path)
    assert "x has no runs" in mistake("status", "--out", tmp_path / "x", "--watch", "3")
    assert "--watch 0.0: give a number of seconds above 0" in mistake("status", "--watch", "0")
    assert "--watch inf: give a number of seconds above 0, up to 86400" in mistake("status", "--watch", "inf")


def test_doctor_tests_the_locks_of_a_folder(tmp_path, monkeypatch, capsys):
    assert bench.main(["doctor", "--out", str(tmp_path)]) == 0
    line = capsys.readouterr().out.splitlines()[-1]
    assert line.startswith(f"locks in {tmp_path}: work between processes of this machine")
    monkeypatch.setattr(doctor, "SECOND_LOCK", "")
    assert doctor.locks_text(tmp_path).startswith("have no effect on other processes")
    monkeypatch.setattr(doctor, "SECOND_LOCK", "raise ValueError('no python')")
    assert doctor.locks_text(tmp_path) == "cannot be tested (ValueError: no python)"
    assert doctor.locks_text(tmp_path / "missing") == "cannot be tested: the folder does not exist yet"

    def denied(**options):
        raise PermissionError(13, "Permission denied")

    def acquire(self, timeout):
        raise OSError("No locks available")

    monkeypatch.setattr("filelock.FileLock.acquire", acquire)
    with monkeypatch.context() as patched:
        patched.setattr("tempfile.NamedTemporaryFile", denied)
        assert doctor.locks_text(tmp_path) == "cannot be tested: Permission denied; give a writable --out"
    assert doctor.locks_text(tmp_path) == "cannot be used (No locks available); give an --out on a file system with locks"
    assert list(tmp_path.iterdir()) == []
