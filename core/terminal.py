"""Text for the terminal that goes above progress bars and does not break them."""

import logging
import sys

from tqdm import tqdm


def show(text: str) -> None:
    """Prints lines on standard output, at once."""
    with tqdm.external_write_mode(file=sys.stdout):
        print(text, flush=True)


class Messages(logging.Handler):
    """Prints log messages on standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            with tqdm.external_write_mode(file=sys.stderr):
                print(self.format(record), file=sys.stderr, flush=True)
        except OSError:  # no terminal any more: that must not end a grid
            self.handleError(record)
