"""Handling of stop signals (Ctrl-C, or signals of a cluster scheduler) between training steps."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

# Ctrl-C; those that schedulers send before SIGKILL, at a time limit (Slurm: sbatch --signal) or a preemption
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


@contextmanager
def stop_requests() -> Iterator[Callable[[], bool]]:
    """Context that records stop signals; yields a function that returns whether one has arrived.

    A second Ctrl-C raises KeyboardInterrupt. Other repeated signals are ignored: schedulers send several, and a worker process
    gets them from its parent too. Outside the main thread, signal handlers are not changed.
    """
    requested = False

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal requested
        if requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        requested = True

    try:
        before = {number: signal.signal(number, handle) for number in STOP_SIGNALS}
    except ValueError:  # not in the main thread
        before = {}
    try:
        yield lambda: requested
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
