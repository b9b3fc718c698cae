"""Texts for a terminal, and output that does not break progress bars."""

import logging
import sys
from io import TextIOWrapper

from tqdm import tqdm


def print_any_text() -> None:
    """Escapes characters that the encoding of the locale lacks, such as the plus-minus sign in ASCII, in standard output."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def show(text: str) -> None:
    """Prints to standard output and flushes."""
    with tqdm.external_write_mode(file=sys.stdout):
        print(text, flush=True)


def clock(seconds: float) -> str:
    """Formats a duration: `45 s`, `5 min`, `2 h 10 min`, `3 d 4 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} d {hours % 24} h"


class Messages(logging.Handler):
    """Log handler that prints to standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            with tqdm.external_write_mode(file=sys.stderr):
                print(self.format(record), file=sys.stderr, flush=True)
        except OSError:  # a closed terminal must not stop a grid
            self.handleError(record)
