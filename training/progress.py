"""Progress of one or several processes on the terminal: epoch, loss, images per second and the time that is left."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

from training.loop import StepReport
from training.prepare import Training

TERMINAL_SECONDS = 0.5  # between new states of a bar
QUIET_SECONDS = 30  # the same where the output is a file, not a terminal
BAR = "{desc} {percentage:3.0f}% |{bar:20}| {elapsed}<{remaining}{postfix}"
LINE = "{desc} {percentage:3.0f}% {elapsed}<{remaining}{postfix}"


@contextmanager
def training_bar(training: Training, note: Callable[[], str] = str) -> Iterator[Callable[[StepReport], None]]:
    """A bar over one training run; yields what the loop is to call after each step. `note` gives words to add to it.

    The bar counts pixels, not images: with growing views a late image costs several early ones, and the time left is
    right only in units of work.
    """
    with _bar(training.work_before(training.epochs), training.config.label) as bar:
        shown, seen = time.monotonic(), 0

        def report(step: StepReport) -> None:
            nonlocal shown, seen
            if bar.n == 0:  # a resumed run begins where it was
                bar.initial = bar.n = bar.last_print_n = training.work_before(step.epoch)
            seen += step.images
            elapsed = time.monotonic() - shown
            if elapsed >= bar.mininterval:
                speed = f"{seen / elapsed:.0f} images/s"
                words = [f"epoch {step.epoch + 1}/{training.epochs}", f"loss {step.loss():.3f}", speed, note()]
                bar.set_postfix_str(", ".join(filter(None, words)), refresh=False)
                shown, seen = time.monotonic(), 0
            bar.update(step.pixels)

        yield report


@contextmanager
def probing_bar(label: str) -> Iterator[Callable[[int, int], None]]:
    """A bar over the extraction of features; yields what the extraction is to call after each batch."""
    with _bar(None, f"features of {label}") as bar:

        def report(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield report


def send_bars_to(write: Callable[[str], None]) -> None:
    """Sends the text of every bar of this process to `write` from now on: for worker processes, whose parent shows it."""
    global _write
    _write = write


class Board:
    """The current line of each of several processes: in place on a terminal, elsewhere each new line below the last."""

    def __enter__(self) -> "Board":
        self._bars: dict[int, tqdm] = {}
        return self

    def __exit__(self, *_: object) -> None:
        for bar in self._bars.values():
            bar.close()

    def show(self, place: int, text: str) -> None:
        """Shows `text` as the line of the process number `place`, from 0; an empty text clears it."""
        if not sys.stderr.isatty():
            _print(text)
            return
        if place not in self._bars:
            self._bars[place] = tqdm(bar_format="{desc}", position=place, leave=False)
        self._bars[place].set_description_str(text)


def _bar(total: int | None, label: str) -> tqdm:
    terminal = sys.stderr.isatty()
    form, seconds = (BAR, TERMINAL_SECONDS) if terminal else (LINE, QUIET_SECONDS)
    if terminal and _write is _print:
        return tqdm(total=total, desc=label, bar_format=form, mininterval=seconds, leave=False)
    # with `miniters` above 1, as tqdm would choose it, its monitor thread prints the old text of a bar every 10 s
    return tqdm(total=total, desc=label, bar_format=form, mininterval=seconds, miniters=1, file=_Lines(), delay=1e-9)


class _Lines:
    """A file for bars where each new state of a bar is a line of its own."""

    def write(self, text: str) -> None:
        _write(text.strip())

    def flush(self) -> None:
        """Lines are flushed as they are written."""


def _print(text: str) -> None:
    if text:
        print(text, file=sys.stderr, flush=True)


_write: Callable[[str], None] = _print  # of the process, as the handlers of logging are
