"""What the worker processes of `test_workers.py` are given to do; they import it by name."""

import logging
import os
import signal
import time
from pathlib import Path

from training import progress
from training.signals import stop_requests


def nothing() -> None:
    """Prepares nothing."""


def name_process() -> None:
    """Marks the process as prepared."""
    os.environ["PREPARED"] = "yes"


def double(number: int) -> tuple[int, int, str]:
    """Twice the number, with the process that computed it."""
    logging.getLogger("work").warning("doubling %d", number)
    return 2 * number, os.getpid(), os.environ.get("PREPARED", "no")


def die_at_two(number: int) -> int:
    """The number, but 2 ends the process as a lack of memory would."""
    if number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def train_until_stopped(folder: str) -> str:
    """Works and reports until it is asked to stop, then writes `saved` into the folder, as training writes a checkpoint.

    Reports come first, as in the training loop: they must not fail where the parent is gone.
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
    """Works on whatever it is asked."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    Path(folder, f"started-{os.getpid()}").touch()
    time.sleep(60)
