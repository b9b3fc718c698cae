"""A folder has one holder, whatever happens to the holders before it and to their machines."""

import errno
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import ExitStack

import pytest
from filelock import FileLock

from core.errors import UserError
from data.sources.fetch import exclusive
from run_store import lease
from run_store.layout import LEASE, LOCK
from run_store.lease import Activity, Busy, LeaseLost, current_lease, hold
from tests.conftest import DEADLINE, ROOT
from tests.shared_runs import ELSEWHERE, HERE, TOKEN, write_lease

FRESH, OLD = 1.0, lease.STALE + 30
ENDED = HERE | {"pid": 2**31 - 1}  # no process has this number
PROCESSES, ROUNDS = 8, 12


@pytest.mark.parametrize(
    ("locked", "age", "owner", "free"),
    [
        (False, None, None, True),
        (True, None, None, False),
        (False, FRESH, ENDED, True),
        (True, FRESH, ENDED, False),
        (False, FRESH, HERE, False),  # the lock is that of another mount, and not seen
        (False, FRESH, ELSEWHERE, False),  # the lock is that of another machine, and not seen
        (True, FRESH, ELSEWHERE, False),
        (False, OLD, HERE, True),
        (True, OLD, HERE, True),
        (False, OLD, ELSEWHERE, True),
        (True, OLD, ELSEWHERE, True),  # the lock of a machine that has crashed
    ],
)
def test_a_folder_is_free_without_a_lock_or_with_a_stale_lease(locked, age, owner, free, tmp_path, caplog):
    if age is not None:
        write_lease(tmp_path, age, **owner)
    with ExitStack() as other:
        if locked:
            other.enter_context(FileLock(tmp_path / LOCK))
        assert (lease.is_busy(tmp_path) is None) is free
        if not free:
            with pytest.raises(Busy, match=r"another process.* wait until it ends"), hold(tmp_path):
                pass
            assert current_lease(tmp_path) is None or current_lease(tmp_path).token == TOKEN
            return
        with hold(tmp_path) as held:
            held.check()
            assert lease.is_busy(tmp_path)
            assert current_lease(tmp_path).worker.endswith(f":{os.getpid()}")
            assert {file.name for file in tmp_path.iterdir()} == {LOCK, LEASE}
            with pytest.raises(Busy, match=rf":{os.getpid()}, uses"), hold(tmp_path):
                pass
            held.renew()
    assert [file.name for file in tmp_path.iterdir()] == [LOCK]
    if age == OLD:
        (message,) = caplog.messages
        taken = f"{tmp_path} is taken over from {owner['host']}:{owner['pid']}"
        assert re.fullmatch(rf"{re.escape(taken)}, which gave no heartbeat for 1\d\d s", message)
    else:
        assert not caplog.messages


@pytest.mark.parametrize(("age", "free"), [(FRESH, False), (OLD, True)])
@pytest.mark.parametrize("content", [b"", b"{", b"\xff" * 600, b"[]"])
def test_a_damaged_lease_is_judged_by_its_age(content, age, free, tmp_path):
    file = write_lease(tmp_path, age)
    times = file.stat().st_atime, file.stat().st_mtime
    file.write_bytes(content)
    os.utime(file, times)
    if free:
        with hold(tmp_path):
            pass
    else:
        with pytest.raises(Busy, match="unknown:0"), hold(tmp_path):
            pass


@pytest.mark.parametrize(("age", "free"), [(FRESH, False), (OLD, True)])
def test_the_lease_of_a_taker_that_was_killed_before_it_renamed_it(age, free, tmp_path):
    write_lease(tmp_path, OLD)
    write_lease(tmp_path, age, name=lease._successor(TOKEN), token="f" * 16, pid=78)
    assert current_lease(tmp_path).worker == "far:78"
    if free:
        with hold(tmp_path) as held:
            held.renew()
            assert current_lease(tmp_path).worker.endswith(f":{os.getpid()}")
    else:
        with pytest.raises(Busy, match="far:78"), hold(tmp_path):
            pass


def test_a_slow_taker_withdraws(tmp_path):
    """It has read a lease that another taker has replaced since."""
    write_lease(tmp_path, OLD)
    read = current_lease(tmp_path)
    with hold(tmp_path) as held:
        with pytest.raises(Busy):
            lease.Lease(tmp_path)._create(read)
        held.renew()
        assert {file.name for file in tmp_path.iterdir()} == {LOCK, LEASE}


def test_a_taker_that_has_not_yet_replaced_the_lock_has_not_ended(tmp_path, monkeypatch):
    """Its lease is there, the old lock becomes free, and another process takes that."""
    write_lease(tmp_path, OLD)
    other, create = FileLock(tmp_path / LOCK), lease.Lease._create

    def release_after(taker, previous):
        monkeypatch.undo()
        create(taker, previous)
        other.release()
        with pytest.raises(Busy), hold(tmp_path):
            pass

    monkeypatch.setattr(lease.Lease, "_create", release_after)
    with other, hold(tmp_path) as taker:
        taker.renew()


def test_a_lock_that_was_replaced_is_not_held(tmp_path, monkeypatch):
    """A process has the lock; before it reads the lease, a faster taker replaces both."""
    write_lease(tmp_path, OLD)
    with ExitStack() as faster:
        takers = []

        def take_before(folder):
            monkeypatch.undo()
            takers.append(faster.enter_context(hold(folder)))
            return lease._leases(folder)

        monkeypatch.setattr(lease, "_leases", take_before)
        with pytest.raises(Busy, match=f":{os.getpid()}, uses"), hold(tmp_path):
            pass
        takers[0].renew()
        with pytest.raises(Busy), hold(tmp_path):  # its new lock is not free
            pass


def test_a_taker_stops_if_the_owner_resumes(tmp_path):
    file = write_lease(tmp_path, OLD)
    read = current_lease(tmp_path)
    file.touch()
    with pytest.raises(Busy):
        lease.Lease(tmp_path)._create(read)
    assert current_lease(tmp_path).token == TOKEN


TAKE = """
import sys, time
from contextlib import ExitStack
from pathlib import Path
from run_store.lease import Busy, hold
out, rounds, processes = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
with ExitStack() as held:
    for number in range(rounds):
        (out / f"ready-{number}-{sys.argv[4]}").touch()
        while len(list(out.glob(f"ready-{number}-*"))) < processes:
            time.sleep(0.0005)
        try:
            held.enter_context(hold(out / str(number)))
            print(number, flush=True)
        except Busy:
            pass
    print("end", flush=True)
    sys.stdin.read()
"""


def test_one_of_eight_processes_takes_over(tmp_path):
    with ExitStack() as locks:
        for number in range(ROUNDS):
            folder = tmp_path / str(number)
            folder.mkdir()
            if number % 3:
                write_lease(folder, OLD)
            if number % 3 == 2:
                locks.enter_context(FileLock(folder / LOCK))
        takers = [
            subprocess.Popen(
                [sys.executable, "-c", TAKE, str(tmp_path), str(ROUNDS), str(PROCESSES), str(taker)],
                cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            )
            for taker in range(PROCESSES)
        ]  # fmt: skip
        winners: list[str] = []
        try:
            for taker in takers:
                for line in iter(taker.stdout.readline, "end\n"):
                    assert line, taker.stderr.read()
                    winners.append(line.strip())
            assert sorted(winners, key=int) == [str(number) for number in range(ROUNDS)]
            assert all(current_lease(tmp_path / str(number)).running for number in range(ROUNDS))
        finally:
            said = [taker.communicate(timeout=DEADLINE)[1] for taker in takers]
        assert sum(text.count("is taken over from far:77, which gave") for text in said) == ROUNDS * 2 // 3
    assert all([file.name for file in (tmp_path / str(number)).iterdir()] == [LOCK] for number in range(ROUNDS))


OWN = """
import os, signal, sys
from pathlib import Path
from run_store import lease
lease.HEARTBEAT, lease.STALE = 1e6, 0.2  # its thread gives no heartbeat, `check` looks at the lease if 0.1 s have passed
folder = Path(sys.argv[1])
with lease.hold(folder) as held:
    try:
        while True:
            held.check()
            (folder / "result").write_text("of the first owner")
            os.kill(os.getpid(), signal.SIGSTOP)
    except lease.LeaseLost as error:
        print(error, flush=True)
"""


def test_a_suspended_owner_finds_that_it_has_lost_the_folder(tmp_path, caplog):
    owner = subprocess.Popen([sys.executable, "-c", OWN, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        os.waitpid(owner.pid, os.WUNTRACED)  # until it is suspended
        with pytest.raises(Busy, match=f":{owner.pid}, uses"), hold(tmp_path):
            pass
        os.utime(tmp_path / LEASE, (time.time() - OLD, time.time() - OLD))
        time.sleep(0.2)
        with hold(tmp_path) as held:
            (message,) = caplog.messages
            assert f":{owner.pid}, which gave no heartbeat for" in message
            (tmp_path / "result").write_text("of the second owner")
            owner.send_signal(signal.SIGCONT)
            said, _ = owner.communicate(timeout=DEADLINE)
            assert f"has lost {tmp_path}; another worker takes over" in said
            assert len(said.splitlines()) == 1
            assert (tmp_path / "result").read_text() == "of the second owner"
            held.renew()
            with pytest.raises(Busy), hold(tmp_path):
                pass
    finally:
        owner.kill()
        owner.wait()


def test_a_lost_lease_stops_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(lease, "HEARTBEAT", 1e6)  # no thread notices it
    with hold(tmp_path) as held:
        write_lease(tmp_path)
        held.check()  # of a heartbeat that is not old
        held._renewed -= lease.STALE / 2 + 1
        with pytest.raises(LeaseLost):
            held.check()
    assert current_lease(tmp_path).token == TOKEN  # not removed by the loser


def test_a_removed_folder_is_an_error_and_not_a_loss(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    with hold(folder) as held:
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
        with pytest.raises(UserError, match="was removed during the run") as caught:
            held.renew()
        assert not isinstance(caught.value, Busy)


def test_heartbeats_have_the_activity(tmp_path, monkeypatch):
    monkeypatch.setattr(lease, "HEARTBEAT", 0.02)
    with hold(tmp_path) as held:
        assert current_lease(tmp_path).activity == Activity()
        activity = Activity("training", 3, 10, 1234.5, 60.0)
        held.describe = lambda: activity
        _wait_until(lambda: current_lease(tmp_path).activity == activity)


@pytest.mark.parametrize(
    ("owner", "age", "running"),
    [
        (ELSEWHERE, FRESH, True),
        (ELSEWHERE, OLD, False),
        (HERE, FRESH, True),
        (ENDED, FRESH, False),
        (ENDED | {"namespace": "of a container"}, FRESH, True),
    ],
)
def test_a_worker_runs_while_it_gives_heartbeats_and_exists(owner, age, running, tmp_path):
    write_lease(tmp_path, age, **owner)
    assert current_lease(tmp_path).running is running


def test_a_process_that_its_parent_has_not_awaited_has_ended(tmp_path):
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        write_lease(tmp_path, FRESH, **(HERE | {"pid": process.pid}))
        _wait_until(lambda: current_lease(tmp_path).ended)
        assert process.returncode is None


def test_an_owner_keeps_the_folder_if_a_taker_was_killed(tmp_path):
    """The taker was killed before it renamed its lease, and the owner woke up."""
    write_lease(tmp_path, FRESH)
    write_lease(tmp_path, OLD, name=lease._successor(TOKEN), token="f" * 16, host="the taker")
    assert current_lease(tmp_path).worker == "far:77"
    with pytest.raises(Busy, match="far:77"), hold(tmp_path):
        pass
    with pytest.raises(Busy):
        lease.Lease(tmp_path)._create(lease._leases(tmp_path)[-1])
    assert len(lease._leases(tmp_path)) == 2


@pytest.mark.parametrize("previous", [False, True])
def test_a_full_disk_is_one_line_and_leaves_no_lease(previous, tmp_path, monkeypatch):
    if previous:
        write_lease(tmp_path, OLD)

    def fail(self):
        raise OSError(errno.ENOSPC, "No space left on device")

    before = lease._leases(tmp_path)
    monkeypatch.setattr(lease.Lease, "_content", fail)
    with pytest.raises(UserError, match=r"lease\.json: No space left on device; free space"), hold(tmp_path):
        pass
    assert [found.token for found in lease._leases(tmp_path)] == [found.token for found in before]
    monkeypatch.undo()
    with hold(tmp_path) as held:
        held.check()


def test_a_lease_that_another_machine_has_replaced_is_read_again(tmp_path, monkeypatch):
    write_lease(tmp_path)
    read = iter([OSError(errno.ESTALE, "Stale file handle")])

    def stale(descriptor, size, read_now=os.read):
        for error in read:
            raise error
        return read_now(descriptor, size)

    monkeypatch.setattr("os.read", stale)
    assert current_lease(tmp_path).token == TOKEN


def test_a_file_system_without_locks_is_one_line(tmp_path, monkeypatch):
    def acquire(self, timeout):
        raise OSError("no locks")

    monkeypatch.setattr("filelock.FileLock.acquire", acquire)
    with pytest.raises(UserError, match="cannot be locked"), hold(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_the_clock_is_that_of_the_file_system(tmp_path):
    before = tmp_path / "before"
    before.touch()
    now = lease.file_clock(tmp_path)
    (tmp_path / "after").touch()
    assert before.stat().st_mtime <= now <= (tmp_path / "after").stat().st_mtime
    assert len(list(tmp_path.iterdir())) == 2


def _wait_until(happened):
    deadline = time.monotonic() + DEADLINE
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
def test_a_folder_that_is_not_writable_is_named(number, tmp_path, monkeypatch):
    def acquire(self, timeout):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("filelock.FileLock.acquire", acquire)
    message = f"cannot write {tmp_path / '.lock'}: {os.strerror(number)}; choose a writable folder with --out"
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"), hold(tmp_path):
        pass


@pytest.mark.parametrize("use", [hold, exclusive])
@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_lock_is_never_replaced_by_a_file_that_a_killed_process_would_leave(number, use, tmp_path, monkeypatch):
    def flock(*arguments):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", flock)
    with (
        pytest.raises(UserError, match=f"cannot be locked .*{os.strerror(number)}.*on a file system with locks"),
        use(tmp_path),
    ):
        pass
