"""Handling of stop signals (Ctrl-C, or SIGTERM from a cluster scheduler) between training steps."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import parent_process
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)  # Ctrl-C; sent by schedulers before SIGKILL


@contextmanager
def stop_requests() -> Iterator[Callable[[], bool]]:
    """Context that records stop signals; yields a function that returns whether one has arrived.

    The second signal raises KeyboardInterrupt, but is ignored in a worker process, which can get two: from the scheduler and
    from its parent. Outside the main thread, signal handlers are not changed.
    """
    requested, worker = False, parent_process() is not None

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal requested
        if requested and not worker:
            raise KeyboardInterrupt
        requested = True

    try:
        before = {number: signal.signal(number, handle) for number in SIGNALS}
    except ValueError:  # not in the main thread
        before = {}
    try:
        yield lambda: requested
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
