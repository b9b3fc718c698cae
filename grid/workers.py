"""Parallel map over worker processes of this machine; the parent displays their progress and log messages."""

import logging
import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing import connection, get_context, parent_process
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from threading import Lock, Thread
from types import FrameType
from typing import Any, TypeVar

from training.progress import WorkerBars, redirect_bars
from training.signals import STOP_SIGNALS, stop_requests

T = TypeVar("T")
R = TypeVar("R")
log = logging.getLogger(__name__)
STOP_CHECK_SECONDS = 0.5  # between checks of whether a stop signal has arrived


class WorkerCrash:
    """Result of an item whose worker process ended before it returned one."""

    def __init__(self, exit_code: int | None):
        self.reason = f"its worker process ended early with exit status {exit_code}"
        if exit_code is not None and exit_code < 0:
            name = signal.Signals(-exit_code).name
            memory = ", possibly out of memory; try a smaller --jobs" if name == "SIGKILL" else ""
            self.reason = f"its worker process was killed by {name}{memory}"


@dataclass
class _Worker:
    """A worker process, the parent's end of its pipe, and its current item."""

    process: SpawnProcess
    pipe: Connection
    item: Any = None


def parallel_map(
    items: Iterable[T], function: Callable[[T], R], processes: int, initializer: Callable[[int], None]
) -> Iterator[tuple[T, R | WorkerCrash]]:
    """Calls `function(item)` for every item in worker processes, and yields (item, result) in order of completion.

    Items are started in order. If a process ends before it returns a result, the result is a `WorkerCrash`, and a new process
    replaces it. The processes end when this iterator is closed or the parent process ends.

    Args:
        items: picklable.
        function: picklable, with picklable results.
        processes: number of processes, at least 1.
        initializer: called once in each process before its first item, with the number of the process from 0; picklable.
            A process that replaces one has its number.

    Raises:
        KeyboardInterrupt: a stop signal arrived. All processes have received SIGTERM, on which training saves a checkpoint,
            and have ended; a second Ctrl-C kills them.
    """
    waiting = deque(items)
    started = _started(min(processes, len(waiting)), function, initializer)
    with WorkerBars() as bars, stop_requests() as stop, started as workers:
        for worker in workers:
            _assign(worker, waiting)
        while any(worker.item is not None for worker in workers):
            ready = connection.wait([worker.pipe for worker in workers if worker.item is not None], STOP_CHECK_SECONDS)
            if stop():
                raise KeyboardInterrupt
            for number, worker in enumerate(workers):
                if worker.pipe not in ready:
                    continue
                kind, content = _receive(worker)
                if kind == "bar":
                    bars.update(number, content)
                elif kind == "log":
                    log.log(*content)
                else:
                    bars.update(number, "")
                    item = worker.item
                    if kind == "crash" and waiting:
                        workers[number] = worker = _start(number, function, initializer)
                    _assign(worker, waiting)  # before the result is yielded, as the caller may be slow
                    yield item, content
        if stop():  # while the caller handled the last result
            raise KeyboardInterrupt


def _receive(worker: _Worker) -> tuple[str, Any]:
    """Next message of a process: ("bar", text), ("log", (level, text)), ("done", result) or ("crash", WorkerCrash)."""
    try:
        return worker.pipe.recv()
    except (EOFError, OSError):
        worker.process.join()
        return "crash", WorkerCrash(worker.process.exitcode)


def _assign(worker: _Worker, waiting: deque) -> None:
    worker.item = waiting.popleft() if waiting else None
    if worker.item is not None:
        with suppress(OSError):  # the process has ended, which `_receive` detects
            worker.pipe.send(worker.item)


@contextmanager
def _started(count: int, function: Callable[[T], R], initializer: Callable[[int], None]) -> Iterator[list[_Worker]]:
    """Starts the processes. On exit sends SIGTERM to busy ones and joins all; kills them on a second Ctrl-C."""
    workers: list[_Worker] = []
    try:
        workers += [_start(number, function, initializer) for number in range(count)]
        yield workers
    finally:
        for worker in workers:
            worker.pipe.close()  # ends an idle process, and unblocks a busy one that writes to a full pipe
            if worker.item is not None:
                worker.process.terminate()
        try:
            for worker in workers:
                worker.process.join()
        except KeyboardInterrupt:
            for worker in workers:
                worker.process.kill()
            raise


def _start(number: int, function: Callable[[T], R], initializer: Callable[[int], None]) -> _Worker:
    context = get_context("spawn")  # a fork would copy locks held by threads of the parent
    parent_end, worker_end = context.Pipe()
    process = context.Process(target=_work, args=(worker_end, function, partial(initializer, number)), daemon=True)
    with _interrupts_blocked():  # inherited by the process: only the parent handles Ctrl-C, and sends SIGTERM
        process.start()
    worker_end.close()  # so that the pipe closes when the process ends
    return _Worker(process, parent_end)


def _work(pipe: Connection, function: Callable[[T], R], initialize: Callable[[], None]) -> None:
    """Main function of a worker process: handles items until the pipe closes."""
    for number in STOP_SIGNALS:
        signal.signal(number, _interrupt)  # outside of training, which has its own handler
    Thread(target=_end_with_parent, daemon=True).start()
    lock = Lock()

    def send(kind: str, content: Any) -> None:
        with lock, suppress(OSError):  # if the parent has ended, training must still save its checkpoint
            pipe.send((kind, content))

    logging.basicConfig(format="%(message)s", level=logging.INFO, handlers=[_PipeHandler(send)])
    redirect_bars(lambda text: send("bar", text))
    with suppress(KeyboardInterrupt, EOFError, OSError):  # a stop signal, or the parent has ended
        initialize()
        while True:
            item = pipe.recv()
            send("done", function(item))


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _end_with_parent() -> None:
    """Sends SIGTERM to this process when its parent has ended."""
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Blocks SIGINT in this thread and in processes started in the context, if the platform supports it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _PipeHandler(logging.Handler):
    """Sends log messages to the parent."""

    def __init__(self, send: Callable[[str, Any], None]):
        super().__init__()
        self._send = send

    def emit(self, record: logging.LogRecord) -> None:
        self._send("log", (record.levelno, "%s", self.format(record)))  # never raises: see `send`
