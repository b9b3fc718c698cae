"""User errors with one-line messages."""

import re
from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """An error that the user can fix. The one-line message states the problem, its location and the fix.

    The command line prints it without a traceback and exits with status 2.
    """


class ProcessEnded(Exception):
    """A process of a multi-process run has failed. The command line prints the one-line message and exits with status 1."""


class FailedInMain(Exception):
    """The main process of a multi-process run has failed and reports the error; raised in the other processes."""


LISTED = 100  # largest number of options that a message lists


def nearest(name: str, options: Iterable[str]) -> str:
    """Returns `"; did you mean 'x'?"` for the closest option, or a list of the options when none is close.

    Of more than LISTED options, the five closest are named.
    """
    options = sorted(options)
    if len(options) > LISTED:
        *others, last = map(repr, get_close_matches(name, options, n=5, cutoff=0))
        return f"; did you mean {', '.join(others)} or {last}?"
    close = get_close_matches(name, options, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; choose from: {', '.join(options)}"


def first_line(error: BaseException) -> str:
    """First line of an exception's message, or its type if the message is empty."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


ALLOCATION_FAILED = (
    "out of memory",  # CUDA
    "can't allocate memory",  # torch's allocator on the CPU
    "cannot allocate memory",  # the system, also when a library is loaded
    "failed to map segment",
    "can't start new thread",  # there is no memory for its stack
    "could not create a primitive",  # oneDNN
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception reports a failed allocation of memory: by Python, the system, torch or a GPU."""
    return isinstance(error, MemoryError) or any(text in str(error).lower() for text in ALLOCATION_FAILED)


def memory_message(error: BaseException) -> str:
    """One line on an exception that `is_out_of_memory`."""
    size = re.search(r"tried to allocate ([\d.]+ \w+)", str(error), re.IGNORECASE)
    what = f"an allocation of {size[1]} failed" if size else first_line(error)
    return (
        f"out of memory ({what}); lower --batch-size or --jobs, choose a smaller --preset or --backbone, or raise the memory "
        "limit"
    )
