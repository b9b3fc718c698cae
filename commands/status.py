"""The command `status`: what runs where, from the files of a folder of runs; without torch."""

import sys
import time
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

from core.errors import UserError
from core.terminal import clock
from run_store.states import RunStatus, State, statuses

COUNTED: tuple[State, ...] = ("DONE", "RUNNING", "RESUMABLE", "FAILED", "NEW")
CLEAR = "\x1b[H\x1b[2J\x1b[3J"


def status(out: Path) -> tuple[str, bool]:
    """Returns the text of the command, and whether all runs are DONE or FAILED. Writes nothing that stays.

    Raises:
        UserError: there are no runs in `out`.
    """
    runs = statuses(out) if out.is_dir() else []
    if not runs:
        raise UserError(f"{out} has no runs; start a grid first, or give the folder of runs with --out")
    counts = Counter(run.state for run in runs)
    left = seconds_left(runs)
    summary = ", ".join(f"{counts[state]} {state}" for state in COUNTED)
    if left is not None:
        end = datetime.now() + timedelta(seconds=left)
        summary += f"; about {clock(left)} left, until {end:%Y-%m-%d %H:%M}"
    return "\n".join([*map(_line, runs), summary]), counts["DONE"] + counts["FAILED"] == len(runs)


def watch(out: Path, seconds: float) -> None:
    """Prints the text of `status` every `seconds` until all runs are DONE or FAILED or Ctrl-C; in place on a terminal."""
    shown, over = "", False
    try:
        while not over:
            if shown:
                time.sleep(seconds)
            text, over = status(out)
            if text != shown:
                print((CLEAR if sys.stdout.isatty() else "\n" if shown else "") + text, flush=True)
            shown = text
    except KeyboardInterrupt:
        print()


def seconds_left(runs: Sequence[RunStatus]) -> float | None:
    """Estimated time until the grid ends, if its workers stay; None if no worker has an estimate, or the grid is complete.

    Runs without a worker are assumed to take as long as the mean of those that are done.
    """
    running = [run.lease.activity for run in runs if run.lease is not None]
    known = [activity.seconds_left for activity in running if activity.seconds_left is not None]
    waiting = sum(run.state in ("RESUMABLE", "NEW") for run in runs)
    done = [run.seconds for run in runs if run.seconds is not None]
    if not known or (waiting and not done):
        return None
    later = waiting * sum(done) / len(done) if done else 0.0
    return max(*known, (sum(known) + later) / len(running))


def _line(run: RunStatus) -> str:
    words = [f"{run.state:9}  {run.name}"]
    if run.lease is not None:
        activity = run.lease.activity
        words += [run.lease.worker, activity.phase]
        if activity.epoch is not None:
            words.append(f"epoch {activity.epoch}/{activity.epochs}")
        if activity.images_per_second is not None:
            words.append(f"{activity.images_per_second:.0f} images/s")
        if activity.seconds_left is not None:
            words.append(f"{clock(activity.seconds_left)} left")
    return "  ".join([*words, *([run.reason] if run.reason else [])])
