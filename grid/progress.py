"""Progress on the terminal: epoch, loss, images per second and the time that is left."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

from training.loop import StepReport
from training.prepare import Training

QUIET_SECONDS = 30  # between lines where the output is a file, not a terminal
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


def _bar(total: int | None, label: str) -> tqdm:
    if sys.stderr.isatty():
        return tqdm(total=total, desc=label, bar_format=BAR, mininterval=0.5, leave=False)
    return tqdm(total=total, desc=label, bar_format=LINE, mininterval=QUIET_SECONDS, file=_Lines(), delay=1e-9)


class _Lines:
    """A file for bars where there is no terminal: each new state of a bar is a line of its own."""

    def write(self, text: str) -> None:
        if line := text.strip():
            print(line, file=sys.stderr, flush=True)

    def flush(self) -> None:
        """Lines are flushed as they are written."""
