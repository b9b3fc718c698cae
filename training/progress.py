"""Progress bars of one or several processes: epoch, loss, images per second and remaining time."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

from training.loop import StepStats
from training.prepare import Training

TERMINAL_SECONDS = 0.5  # between updates of a bar
LINE_SECONDS = 30  # between updates if the output is not a terminal
BAR = "{desc} {percentage:3.0f}% |{bar:20}| {elapsed}<{remaining}{postfix}"
LINE = "{desc} {percentage:3.0f}% {elapsed}<{remaining}{postfix}"


@contextmanager
def training_bar(training: Training, note: Callable[[], str] = str) -> Iterator[Callable[[StepStats], None]]:
    """Progress bar of a training run; yields the `on_step` callback of `train`. `note` returns text to append.

    The bar counts pixels, not images: view sizes grow during training, so the remaining time is proportional to pixels.
    """
    with _bar(training.work_before(training.epochs), training.config.label) as bar:
        shown, seen = time.monotonic(), 0

        def report(step: StepStats) -> None:
            nonlocal shown, seen
            if bar.n == 0:  # a resumed run starts at the progress of its checkpoint
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
    """Progress bar of feature extraction; yields a callback of images processed and in total."""
    with _bar(None, f"features of {label}") as bar:

        def report(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield report


def redirect_bars(write: Callable[[str], None]) -> None:
    """Passes the text of all later bars of this process to `write`, for worker processes: the parent displays it."""
    global _write
    _write = write


class WorkerBars:
    """Displays one progress line per worker process: updated in place on a terminal, else printed line by line."""

    def __enter__(self) -> "WorkerBars":
        self._bars: dict[int, tqdm] = {}
        return self

    def __exit__(self, *_: object) -> None:
        for bar in self._bars.values():
            bar.close()

    def update(self, worker: int, text: str) -> None:
        """Sets the line of a worker process, numbered from 0; an empty text clears it."""
        if not sys.stderr.isatty():
            _print(text)
            return
        if worker not in self._bars:
            self._bars[worker] = tqdm(bar_format="{desc}", position=worker, leave=False)
        self._bars[worker].set_description_str(text)


def _bar(total: int | None, label: str) -> tqdm:
    terminal = sys.stderr.isatty()
    form, seconds = (BAR, TERMINAL_SECONDS) if terminal else (LINE, LINE_SECONDS)
    if terminal and _write is _print:
        return tqdm(total=total, desc=label, bar_format=form, mininterval=seconds, leave=False)
    # with `miniters` above 1, as tqdm would set it, its monitor thread prints the outdated text of a bar every 10 s
    return tqdm(total=total, desc=label, bar_format=form, mininterval=seconds, miniters=1, file=_Lines(), delay=1e-9)


class _Lines:
    """File object for bars that writes each update as a line."""

    def write(self, text: str) -> None:
        _write(text.strip())

    def flush(self) -> None:
        """Does nothing: `write` flushes."""


def _print(text: str) -> None:
    if text:
        print(text, file=sys.stderr, flush=True)


_write: Callable[[str], None] = _print  # global to the process, like logging handlers
