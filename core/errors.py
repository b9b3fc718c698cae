"""User errors with one-line messages."""

import re
from collections.abc import Iterable
from difflib import SequenceMatcher

SIMILAR = 0.65  # least ratio of a suggestion: twice the matching characters, divided by the characters of both words
LISTED = 50  # options, at most, that a message lists


class UserError(Exception):
    """An error that the user can fix. The one-line message states the problem, its location and the fix.

    The command line prints it without a traceback and exits with status 2.
    """


class ProcessEnded(Exception):
    """A process of a multi-process run has failed. The command line prints the one-line message and exits with status 1."""


class FailedInMain(Exception):
    """The main process of a multi-process run has failed and reports the error; raised in the other processes."""


def nearest(name: str, options: Iterable[str]) -> str:
    """Returns `"; did you mean 'x'?"` for the closest options, or a list of the options when none is close."""
    options = sorted(options)
    if close := closest(name, options):
        return f"; did you mean {' or '.join(map(repr, close))}?"
    return f"; choose from: {', '.join(options)}" if len(options) <= LISTED else f"; none of the {len(options)} is similar"


def closest(name: str, options: Iterable[str]) -> list[str]:
    """Up to three options that are equally close to `name`, whatever their case; none if no option is similar."""
    ratios = {option: SequenceMatcher(None, option.lower(), name.lower()).ratio() for option in options}
    best = max(ratios.values(), default=0.0)
    return [option for option, ratio in ratios.items() if ratio == best >= SIMILAR][:3]


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
