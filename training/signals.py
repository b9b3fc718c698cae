"""Stopping between two steps when the user, or a cluster's scheduler, asks for it."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import parent_process
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)  # Ctrl-C; what schedulers send before they kill


@contextmanager
def stop_requests() -> Iterator[Callable[[], bool]]:
    """Context that notes the first stop signal instead of obeying it; yields whether there was one.

    A second signal is obeyed at once, but in a worker process ignored: schedulers signal every process of a job, and the parent
    passes its own signal on. Only the main thread can do this; elsewhere signals stay as they are.
    """
    asked, worker = False, parent_process() is not None

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked and not worker:
            raise KeyboardInterrupt
        asked = True

    try:
        before = {number: signal.signal(number, note) for number in SIGNALS}
    except ValueError:  # not in the main thread
        before = {}
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
