"""Functions that the worker processes of `test_workers.py` import and call."""

import logging
import os
import signal
import time
from pathlib import Path

from training import progress
from training.signals import stop_requests


def do_nothing(worker: int) -> None:
    """Initializer without effect."""


def mark_process(worker: int) -> None:
    """Initializer that marks the process with its number."""
    os.environ["INITIALIZED"] = str(worker)


def double(number: int) -> tuple[int, int, str]:
    """Returns twice the number, the process id, and the number of the process."""
    logging.getLogger("work").warning("doubling %d", number)
    return 2 * number, os.getpid(), os.environ.get("INITIALIZED", "no")


def kill_at_two(number: int) -> int:
    """Returns the number; kills the process at 2, as the kernel does when memory runs out."""
    if number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def train_until_stopped(folder: str) -> str:
    """Sends progress until it is stopped, then writes `saved` into the folder, as training writes a checkpoint.

    Progress precedes the check, as in the training loop: it must not fail if the parent has ended.
    """
    with stop_requests() as stop:
        Path(folder, f"started-{os.getpid()}").touch()
        while not stop():
            time.sleep(0.01)
            progress._write("a step")
            logging.getLogger("work").info("a message")
        time.sleep(0.5)  # a checkpoint takes a while, in which the second signal arrives
        progress._write("saving")
    Path(folder, f"saved-{os.getpid()}").touch()
    raise KeyboardInterrupt


def sleep_on(folder: str) -> None:
    """Marks the arrival of SIGTERM in the folder and goes on."""
    signal.signal(signal.SIGTERM, lambda *_: Path(folder, "received").touch())
    Path(folder, f"started-{os.getpid()}").touch()
    end = time.monotonic() + 600
    while time.monotonic() < end:
        time.sleep(1)
