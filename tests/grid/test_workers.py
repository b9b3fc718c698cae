"""Work that is shared out to processes."""

import os
import signal
import subprocess
import sys
import time

import pytest

from grid.workers import Died, share_out
from tests.conftest import ROOT
from tests.grid import shared_work

STARTS = "from tests.grid import shared_work\nfrom grid.workers import share_out\n"


def test_every_item_is_done_once_and_by_several_processes(caplog):
    found = dict(share_out(range(6), shared_work.double, 2, shared_work.name_process))
    assert {item: result[0] for item, result in found.items()} == {n: 2 * n for n in range(6)}
    pids = {result[1] for result in found.values()}
    assert 1 <= len(pids) <= 2
    assert os.getpid() not in pids
    assert {result[2] for result in found.values()} == {"yes"}
    assert sorted(record.message for record in caplog.records) == [f"doubling {n}" for n in range(6)]


def test_a_process_that_dies_fails_its_item_alone():
    found = dict(share_out(range(5), shared_work.die_at_two, 2, shared_work.nothing))
    died = found.pop(2)
    assert isinstance(died, Died)
    assert died.reason.startswith("its process was ended by SIGKILL; the system sends it when memory runs out")
    assert found == {n: n for n in (0, 1, 3, 4)}


def _share_in_a_process(folder, count, work="train_until_stopped"):
    """A process that shares `count` endless items, once all of them have started."""
    code = f"{STARTS}if __name__ == '__main__':\n    list(share_out([{str(folder)!r}] * {count}, shared_work.{work}"
    running = subprocess.Popen(
        [sys.executable, "-c", f"{code}, {count}, shared_work.nothing))"], cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    _wait_for(lambda: len(list(folder.glob("started-*"))) == count)
    return running


def _wait_for(happened):
    deadline = time.monotonic() + 120
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_signal_lets_every_process_save(number, tmp_path):
    running = _share_in_a_process(tmp_path, 2)
    running.send_signal(number)
    _, said = running.communicate(timeout=60)
    assert len(list(tmp_path.glob("saved-*"))) == 2
    assert said.strip().endswith("KeyboardInterrupt")
    assert said.count("Traceback") == 1  # the parent's, which the command line turns into a message


def test_processes_that_are_signalled_too_save_all_the_same(tmp_path):
    """Schedulers send SIGTERM to every process of a job; the parent's own comes on top."""
    running = _share_in_a_process(tmp_path, 2)
    for started in tmp_path.glob("started-*"):
        os.kill(int(started.name.removeprefix("started-")), signal.SIGTERM)
    running.send_signal(signal.SIGTERM)
    running.communicate(timeout=60)
    assert len(list(tmp_path.glob("saved-*"))) == 2


def test_a_second_signal_does_not_wait(tmp_path):
    running = _share_in_a_process(tmp_path, 1, work="sleep_on")
    running.send_signal(signal.SIGINT)
    time.sleep(1.5)
    assert running.poll() is None  # it waits for what ignores the first
    running.send_signal(signal.SIGINT)
    running.communicate(timeout=20)
    assert running.returncode not in (None, 0)


def test_processes_save_and_end_when_their_parent_is_killed(tmp_path):
    running = _share_in_a_process(tmp_path, 2)
    running.kill()
    running.communicate(timeout=60)
    _wait_for(lambda: len(list(tmp_path.glob("saved-*"))) == 2)
