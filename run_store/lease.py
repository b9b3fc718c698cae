"""Exclusive use of a folder by one process, on file systems that several machines share.

Two guards:

- A lock (flock on `.lock`), which the system releases when the process ends. Some network file systems pass locks on to other
  machines late, not at all, or keep those of a machine that has crashed.
- A lease: `lease.json` names the process, which writes it again every HEARTBEAT seconds (a heartbeat). Its age is the
  difference of two times that the file system gives to files, so the clocks of machines need not agree. It is stale after STALE
  seconds.

| lease | lock | |
|---|---|---|
| none | free | the process takes lock and lease |
| none | held | Busy |
| of a process on this machine that has ended | free | the lease is replaced |
| fresh, otherwise | any | Busy |
| stale, otherwise | any | the folder is taken over: the lease is replaced, and the lock if it is held |

A free lock alone does not show that the process has ended: the lock may have been replaced since, or be that of another mount
of the file system.

Races:

- A first lease is created exclusively (O_EXCL), so one of several processes has it, whether or not they see each other's locks.
- To replace a lease, its successor is created exclusively, under a name with the random token of the lease: one of several
  takers succeeds, and renames the successor to `lease.json`. A later taker, whose lease to replace is no longer there, finds
  that its own is not the successor of `lease.json`, and stops. The successor of a taker that was killed before it renamed
  it becomes stale and is replaced in the same way, unless the process of `lease.json` has resumed.
- A lock that is held is replaced by the taker that succeeded: it locks a new file and renames it to `.lock`.
- A heartbeat writes into the file that has the token of its process, and never creates or replaces a file. A process that was
  suspended finds another token, or no file, and stops the run (`LeaseLost`). `Lease.check`, before results are written, gives a
  heartbeat if the last one is older than STALE / 2.
- Not excluded: a process is suspended for STALE seconds between a check and the system call after it. Then two processes may
  write for a while. Files are replaced as a whole, both compute the same content, and the process that does not find its token
  stops.
"""

import errno
import logging
import os
import secrets
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryFile
from threading import Event, Lock, Thread
from typing import Annotated, Literal

import msgspec
from filelock import FileLock, Timeout

from core.errors import UserError
from core.files import UNFINISHED, removed
from core.schema import InvalidData, decode, encode
from run_store.layout import LEASE, LOCK

log = logging.getLogger(__name__)

HEARTBEAT = 15.0  # seconds between heartbeats
STALE = 120.0  # seconds without a heartbeat after which another process takes over
ATTEMPTS = 3  # to read a lease that is replaced meanwhile
SIZE = 512  # bytes of a lease, padded by spaces, so that a heartbeat is one write that changes no length
NOT_NEGATIVE = msgspec.Meta(ge=0)

# it includes the time during which the machine is suspended
_clock = partial(time.clock_gettime, getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Busy(UserError):
    """Another process uses the folder."""


class LeaseLost(Busy):
    """Another process has taken over the folder from this one."""


class Activity(msgspec.Struct, frozen=True):
    """What a process does in a folder."""

    phase: Literal["preparing", "training", "probing", "reporting"] = "preparing"
    epoch: Annotated[int, NOT_NEGATIVE] | None = None  # current one, from 1
    epochs: Annotated[int, NOT_NEGATIVE] | None = None
    images_per_second: Annotated[float, NOT_NEGATIVE] | None = None  # since the last heartbeat
    seconds_left: Annotated[float, NOT_NEGATIVE] | None = None  # of training


class _Content(msgspec.Struct, frozen=True):
    """Content of a lease."""

    token: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{16}$")]  # random
    host: str
    pid: Annotated[int, msgspec.Meta(ge=1, lt=2**31)]
    system: str  # see `_system`
    namespace: str  # see `_namespace`
    activity: Activity = Activity()


@dataclass(frozen=True)
class FoundLease:
    """A lease as it is found in a folder."""

    token: str
    worker: str  # HOST:PID
    ended: bool  # whether it was a process of this machine that has ended
    beat: float  # time of the last heartbeat, by the clock of the file system
    age: float  # seconds since then
    activity: Activity

    @property
    def stale(self) -> bool:
        """Whether another process may take over the folder."""
        return self.age > STALE

    @property
    def running(self) -> bool:
        """Whether the process uses the folder."""
        return not self.stale and not self.ended


class Lease:
    """The lease of this process on a folder, from `hold`."""

    def __init__(self, folder: Path):
        self.describe: Callable[[], Activity] = Activity  # called at each heartbeat, in a thread
        self._folder, self._token = folder, secrets.token_hex(8)
        self._renewed = _clock()
        self._lost: UserError | None = None
        self._writing, self._released = Lock(), Event()
        self._thread = Thread(target=self._beat, name="heartbeat", daemon=True)

    def check(self) -> None:
        """Raises LeaseLost if another process has taken over the folder, or UserError if the folder was removed."""
        if self._lost is not None:
            raise self._lost
        if _clock() - self._renewed > STALE / 2:
            self.renew()

    def renew(self) -> None:
        """Gives a heartbeat. Raises like `check`."""
        with self._writing:
            started = _clock()
            try:
                with open(self._folder / LEASE, "r+b", buffering=0) as file:
                    if self._token.encode() not in file.read():
                        raise self._taken()
                    file.seek(0)
                    file.write(self._content())
                    os.utime(file.fileno())  # the time of the server of a network file system
            except FileNotFoundError as error:
                raise (self._taken() if self._folder.exists() else removed(self._folder)) from error
            except OSError as error:  # may be temporary
                if started - self._renewed > STALE:
                    raise self._taken(f" ({error.strerror})") from error
                return
            self._renewed = started

    def _beat(self) -> None:
        while not self._released.wait(HEARTBEAT):
            try:
                self.renew()
            except UserError as error:  # raised by `check`
                self._lost = error
                return

    def _taken(self, reason: str = "") -> LeaseLost:
        silent = _clock() - self._renewed
        return LeaseLost(
            f"this process gave no heartbeat for {silent:.0f} s{reason} and has lost {self._folder}; another worker takes over"
        )

    def _content(self) -> bytes:
        identity = (self._token, socket.gethostname(), os.getpid(), _system(), _namespace())
        return encode(_Content(*identity, self.describe())).ljust(SIZE)

    def _create(self, previous: FoundLease | None) -> None:
        """Creates the file as the first lease or as the successor of `previous`. Raises Busy if another process is faster."""
        busy = Busy(f"another process has locked {self._folder} in the same moment")
        file = self._folder / (LEASE if previous is None else _successor(previous.token))
        try:
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError as error:
            raise busy from error
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(self._content())
            if previous is not None:
                leases = _leases(self._folder)
                if [lease.token for lease in leases[-2:]] != [previous.token, self._token]:
                    raise busy
                if leases[-2].beat != previous.beat or any(lease.running for lease in leases[:-2]):
                    raise busy  # a process has resumed
                os.replace(file, self._folder / LEASE)
        except BaseException as error:
            file.unlink(missing_ok=True)
            if isinstance(error, FileNotFoundError):  # removed by the process before, which has resumed
                raise busy from error
            raise

    def _release(self) -> None:
        self._released.set()
        if self._thread.ident is not None:
            self._thread.join()
        with suppress(OSError):  # else it becomes stale
            if self._token.encode() in (self._folder / LEASE).read_bytes():
                os.unlink(self._folder / LEASE)


@contextmanager
def hold(folder: Path) -> Iterator[Lease]:
    """Context in which this process alone uses a folder.

    Raises:
        Busy: another process uses it.
        UserError: the file system has no locks.
    """
    try:
        lock, lease = _acquire(folder)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UserError(f"cannot write {folder / LEASE}: {error.strerror}; free space or choose another folder") from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise UserError(f"cannot write {folder / LOCK}: {error.strerror}; choose a writable folder with --out") from error
        raise UserError(
            f"{folder / LOCK} cannot be locked ({error}); give an --out on a file system with locks, and see `doctor --out`"
        ) from error
    try:
        lease._thread.start()
        yield lease
    finally:
        lease._release()
        lock.release()


def _acquire(folder: Path) -> tuple[FileLock, Lease]:
    """Takes lock and lease. Raises Busy."""
    lease, lock = Lease(folder), _locked(folder / LOCK)
    own = folder / f".{LOCK}.{secrets.token_hex(4)}{UNFINISHED}"  # replaces a lock that another process holds
    try:
        leases = _leases(folder)
        current, previous = _current(leases), leases[-1] if leases else None
        if not _is_free(lock, current):
            raise _busy(folder, current)
        taken = previous is not None and not (lock and previous.ended)
        if lock is None:
            lock = _locked(own)
        if lock is None:  # removed as unfinished by a faster process
            raise _busy(folder, current)
        lease._create(previous)
        if own.exists():
            os.replace(own, folder / LOCK)
        lease.renew()
        if previous is not None and taken:
            log.warning("%s is taken over from %s, which gave no heartbeat for %.0f s", folder, previous.worker, previous.age)
    except BaseException:
        own.unlink(missing_ok=True)
        lease._release()
        if lock is not None:
            lock.release()
        raise
    return lock, lease


def is_busy(folder: Path) -> Busy | None:
    """The error that `hold` would raise now, if the folder is busy; it need not exist. Locks it for a moment."""
    if not folder.exists():
        return None
    try:
        lock = _locked(folder / LOCK)
        try:
            lease = current_lease(folder)
            return None if _is_free(lock, lease) else _busy(folder, lease)
        finally:
            if lock is not None:
                lock.release()
    except OSError:  # reported by `hold`
        return None


def _is_free(lock: FileLock | None, lease: FoundLease | None) -> bool:
    """Whether a process may take a folder, from its `lock`, if it is free, and its lease."""
    if lease is None:
        return lock is not None
    return lease.stale or (lock is not None and lease.ended)


def current_lease(folder: Path, now: float | None = None) -> FoundLease | None:
    """The lease on a folder, of a process that uses it if there is one; None if there is no lease.

    Args:
        folder: of a run; need not exist.
        now: `file_clock` of the file system; None: it is read.
    """
    return _current(_leases(folder, now))


def _current(leases: Sequence[FoundLease]) -> FoundLease | None:
    return next((lease for lease in reversed(leases) if lease.running), leases[-1] if leases else None)


def file_clock(folder: Path) -> float:
    """Time of the file system of a folder, in seconds; that of this machine if the folder is not writable."""
    try:
        with TemporaryFile(dir=folder) as file:
            os.utime(file.fileno())
            return os.fstat(file.fileno()).st_mtime
    except OSError:
        return time.time()


def _leases(folder: Path, now: float | None = None) -> list[FoundLease]:
    """The lease on a folder after the leases that takers are replacing by it."""
    leases: dict[str, FoundLease] = {}
    file = folder / LEASE
    while (found := _read(file)) is not None and found[0].token not in leases:
        content, beat = found
        here = (content.system, content.namespace) == (_system(), _namespace())
        leases[content.token] = FoundLease(
            token=content.token,
            worker=f"{content.host}:{content.pid}",
            ended=here and _ended(content.pid),
            beat=beat,
            age=(file_clock(folder) if now is None else now) - beat,
            activity=content.activity,
        )
        file = folder / _successor(content.token)
    return list(leases.values())


def _read(file: Path) -> tuple[_Content, float] | None:
    """Content and modification time of one lease; None if there is no file."""
    for attempt in range(ATTEMPTS):
        try:
            # not blocked by a FIFO; one descriptor, as the file may be replaced between two system calls
            descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK)
            try:
                status, text = os.fstat(descriptor), os.read(descriptor, SIZE)
            finally:
                os.close(descriptor)
            break
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            if error.errno != errno.ESTALE or attempt == ATTEMPTS - 1:  # another machine has replaced the file
                raise
    try:
        return decode(text, _Content), status.st_mtime
    except InvalidData:  # damaged, or its creator was killed before it was written
        return _Content(f"damaged-{status.st_ino}", "unknown", 0, "", ""), status.st_mtime


def _successor(token: str) -> str:
    """Name of the successor of the lease with a token; `remove_unfinished` removes one that a killed process has left."""
    return f".{LEASE}.{token}{UNFINISHED}"


def _locked(file: Path) -> FileLock | None:
    """Locks a file; returns None if another process has locked it."""
    lock = FileLock(file, fallback_to_soft=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return None
    return lock


def _busy(folder: Path, lease: FoundLease | None) -> Busy:
    if lease is not None:
        return Busy(f"another process, {lease.worker}, uses {folder}; wait until it ends, or give another --out")
    return Busy(
        f"another process has locked {folder}; wait until it ends, or give another --out; delete {folder / LOCK} if no process "
        "on any machine uses the folder"
    )


@cache
def _system() -> str:
    """Identity of the running system, whose processes see each other's locks; containers share it."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    except OSError:
        return socket.gethostname()


@cache
def _namespace() -> str:
    """Identity of the process numbers of the running system, which containers have of their own."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _ended(pid: int) -> bool:
    """Whether there is no process of this number on this machine, or it has ended and its parent has not waited for it."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):  # of another user
        return False
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return status.rpartition(")")[2].split()[:1] in (["Z"], ["X"])
