"""Work shared out to processes on this machine, each of which does one item at a time; the parent shows their progress."""

import logging
import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import connection, get_context, parent_process
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from threading import Lock, Thread
from types import FrameType
from typing import Any, TypeVar

from training.progress import Board, send_bars_to
from training.signals import stop_requests

T = TypeVar("T")
R = TypeVar("R")
log = logging.getLogger(__name__)
STOP_CHECK_SECONDS = 0.5  # between checks of whether a stop signal has arrived


class Died:
    """In place of a result: the process ended before it returned one."""

    def __init__(self, exit_code: int | None):
        self.reason = f"its process ended before the run did, with status {exit_code}"
        if exit_code is not None and exit_code < 0:
            name = signal.Signals(-exit_code).name
            memory = "; the system sends it when memory runs out: try a smaller --jobs" if name == "SIGKILL" else ""
            self.reason = f"its process was ended by {name}{memory}"


@dataclass
class _Worker:
    """A process, the parent's end of its pipe, and the item that it works on."""

    process: SpawnProcess
    pipe: Connection
    item: Any = None


def share_out(
    items: Iterable[T], work: Callable[[T], R], processes: int, prepare: Callable[[], None]
) -> Iterator[tuple[T, R | Died]]:
    """Calls `work(item)` for every item in `processes` processes, and yields each item with its result as it is done.

    The processes take items in their order. One that ends in the middle of an item is replaced, and the item's result is
    `Died`. They are ended when this iterator is closed, and when the parent process ends for whatever reason.

    Args:
        items: picklable.
        work: picklable, as is what it returns.
        processes: how many, at least 1.
        prepare: called once in each process before its first item; picklable.

    Raises:
        KeyboardInterrupt: SIGINT or SIGTERM arrived. Each process has got SIGTERM, so that training saved a checkpoint, and has
            ended; a second signal ends them without waiting.
    """
    waiting = deque(items)
    with Board() as board, stop_requests() as stop, _started(min(processes, len(waiting)), work, prepare) as workers:
        for worker in workers:
            _assign(worker, waiting)
        while any(worker.item is not None for worker in workers):
            ready = connection.wait([worker.pipe for worker in workers if worker.item is not None], STOP_CHECK_SECONDS)
            if stop():
                raise KeyboardInterrupt
            for place, worker in enumerate(workers):
                if worker.pipe not in ready:
                    continue
                kind, content = _receive(worker)
                if kind == "bar":
                    board.show(place, content)
                elif kind == "log":
                    log.log(*content)
                else:
                    board.show(place, "")
                    item = worker.item
                    if kind == "died" and waiting:
                        workers[place] = worker = _start(work, prepare)
                    _assign(worker, waiting)  # before the result is yielded: the caller may take a while
                    yield item, content


def _receive(worker: _Worker) -> tuple[str, Any]:
    """The next message of a process: ("bar", text), ("log", (level, text)), ("done", result) or ("died", Died)."""
    try:
        return worker.pipe.recv()
    except (EOFError, OSError):
        worker.process.join()
        return "died", Died(worker.process.exitcode)


def _assign(worker: _Worker, waiting: deque) -> None:
    worker.item = waiting.popleft() if waiting else None
    if worker.item is not None:
        with suppress(OSError):  # the process has just died: `_receive` finds out
            worker.pipe.send(worker.item)


@contextmanager
def _started(count: int, work: Callable[[T], R], prepare: Callable[[], None]) -> Iterator[list[_Worker]]:
    """Starts the processes; at the end sends SIGTERM to those that work, and waits for all of them until a second signal."""
    workers: list[_Worker] = []
    try:
        workers += [_start(work, prepare) for _ in range(count)]
        yield workers
    finally:
        for worker in workers:
            worker.pipe.close()  # which ends a process without work; and a full pipe would hold one that works
            if worker.item is not None:
                worker.process.terminate()
        try:
            for worker in workers:
                worker.process.join()
        except KeyboardInterrupt:
            for worker in workers:
                worker.process.kill()
            raise


def _start(work: Callable[[T], R], prepare: Callable[[], None]) -> _Worker:
    context = get_context("spawn")  # a fork would copy the threads' locks of the parent
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, work, prepare), daemon=True)
    with _interrupts_blocked():  # the process inherits it: Ctrl-C is for the parent, which sends SIGTERM
        process.start()
    theirs.close()  # so that the end of the process closes the pipe
    return _Worker(process, ours)


def _serve(pipe: Connection, work: Callable[[T], R], prepare: Callable[[], None]) -> None:
    """What a process does: items until the parent ends it."""
    signal.signal(signal.SIGTERM, _interrupt)  # outside training, which saves a checkpoint first
    Thread(target=_end_with_parent, daemon=True).start()
    lock = Lock()

    def send(kind: str, content: Any) -> None:
        with lock, suppress(OSError):  # without a parent training has still to save its checkpoint
            pipe.send((kind, content))

    logging.basicConfig(format="%(message)s", level=logging.INFO, handlers=[_Sent(send)])
    send_bars_to(lambda text: send("bar", text))
    with suppress(KeyboardInterrupt, EOFError, OSError):  # a stop signal, or no parent any more
        prepare()
        while True:
            item = pipe.recv()
            send("done", work(item))


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _end_with_parent() -> None:
    """Sends this process SIGTERM when its parent has ended, however that was."""
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Blocks SIGINT, where the system can, in this thread and in processes that start meanwhile."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Sent(logging.Handler):
    """Sends log messages to the parent."""

    def __init__(self, send: Callable[[str, Any], None]):
        super().__init__()
        self._send = send

    def emit(self, record: logging.LogRecord) -> None:
        self._send("log", (record.levelno, "%s", self.format(record)))  # never raises: see `send`
