"""Words of messages: numbers of things, lists of names, text for output."""

import re
from collections.abc import Iterable


def counted(n: int, noun: str) -> str:
    """A number of things: `1 image`, `2,000 images`, `3 classes`."""
    plural = "" if n == 1 else "es" if noun.endswith("s") else "s"
    return f"{n:,} {noun}{plural}"


def listed(names: Iterable[str], count: int = 3) -> str:
    """The first `count` names, and the number of the others."""
    names = list(names)
    more = f" and {len(names) - count:,} more" if len(names) > count else ""
    return ", ".join(map(printable, names[:count])) + more


def printable(text: str) -> str:
    """Text with surrogates escaped, as of a path that is not UTF-8."""
    return text.encode(errors="backslashreplace").decode()


def are(n: int) -> str:
    """`is` for one thing, else `are`."""
    return "is" if n == 1 else "are"


def by_number(name: str) -> list[str | int]:
    """Key that sorts names with numbers by these: cifar10lt before cifar100lt."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]
