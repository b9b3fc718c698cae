"""Terminal output that does not break progress bars."""

import logging
import sys

from tqdm import tqdm


def show(text: str) -> None:
    """Prints to standard output and flushes."""
    with tqdm.external_write_mode(file=sys.stdout):
        print(text, flush=True)


class Messages(logging.Handler):
    """Log handler that prints to standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            with tqdm.external_write_mode(file=sys.stderr):
                print(self.format(record), file=sys.stderr, flush=True)
        except OSError:  # a closed terminal must not stop a grid
            self.handleError(record)
