"""Parallel map over worker processes."""

import os
import signal
import subprocess
import sys
import time

import pytest

from grid.workers import WorkerCrash, parallel_map
from tests.conftest import DEADLINE, ROOT
from tests.grid import worker_functions

STARTS = "from tests.grid import worker_functions\nfrom grid.workers import parallel_map\n"


def test_every_item_is_processed_once_by_worker_processes(caplog):
    found = dict(parallel_map(range(6), worker_functions.double, 2, worker_functions.mark_process))
    assert {item: result[0] for item, result in found.items()} == {n: 2 * n for n in range(6)}
    pids = {result[1] for result in found.values()}
    assert 1 <= len(pids) <= 2
    assert os.getpid() not in pids
    numbers = {(pid, number) for _, pid, number in found.values()}
    assert len(numbers) == len(pids)
    assert {number for _, number in numbers} <= {"0", "1"}
    assert sorted(record.message for record in caplog.records) == [f"doubling {n}" for n in range(6)]


def test_a_killed_process_fails_only_its_item():
    found = dict(parallel_map(range(5), worker_functions.kill_at_two, 2, worker_functions.do_nothing))
    crash = found.pop(2)
    assert isinstance(crash, WorkerCrash)
    assert crash.reason.startswith("its worker process was killed by SIGKILL, possibly out of memory")
    assert found == {n: n for n in (0, 1, 3, 4)}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_the_last_result_is_handled_stops_too(number):
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012
        for item, result in parallel_map([3], worker_functions.double, 1, worker_functions.do_nothing):
            assert (item, result[0]) == (3, 6)
            signal.raise_signal(number)


def _start_map(folder, count, work="train_until_stopped"):
    """Starts a process that maps `count` endless items; returns it once all of them have started."""
    code = f"{STARTS}if __name__ == '__main__':\n    list(parallel_map([{str(folder)!r}] * {count}, worker_functions.{work}"
    running = subprocess.Popen(
        [sys.executable, "-c", f"{code}, {count}, worker_functions.do_nothing))"], cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    _wait_until(lambda: len(list(folder.glob("started-*"))) == count)
    return running


def _wait_until(happened):
    deadline = time.monotonic() + DEADLINE
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_every_worker_saves_on_a_stop_signal(number, tmp_path):
    running = _start_map(tmp_path, 2)
    running.send_signal(number)
    _, stderr = running.communicate(timeout=DEADLINE)
    assert len(list(tmp_path.glob("saved-*"))) == 2
    assert stderr.strip().endswith("KeyboardInterrupt")
    assert stderr.count("Traceback") == 1  # the parent's, which the command line turns into a message


@pytest.mark.slow
def test_workers_that_get_two_signals_save_too(tmp_path):
    """Schedulers send SIGTERM to every process of a job, and so does the parent."""
    running = _start_map(tmp_path, 2)
    for started in tmp_path.glob("started-*"):
        os.kill(int(started.name.removeprefix("started-")), signal.SIGTERM)
    running.send_signal(signal.SIGTERM)
    running.communicate(timeout=DEADLINE)
    assert len(list(tmp_path.glob("saved-*"))) == 2


def test_a_second_signal_does_not_wait(tmp_path):
    running = _start_map(tmp_path, 1, work="sleep_on")
    running.send_signal(signal.SIGINT)
    _wait_until((tmp_path / "received").exists)
    assert running.poll() is None  # waits for the worker that ignores the first signal
    running.send_signal(signal.SIGINT)
    running.communicate(timeout=DEADLINE)
    assert running.returncode not in (None, 0)


@pytest.mark.slow
def test_workers_save_and_end_when_their_parent_is_killed(tmp_path):
    running = _start_map(tmp_path, 2)
    running.kill()
    running.communicate(timeout=DEADLINE)
    _wait_until(lambda: len(list(tmp_path.glob("saved-*"))) == 2)
