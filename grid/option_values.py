"""Types of the values of options: what words of the command line, or of a file of options, are converted to."""

import os
import re
from collections.abc import Iterator, Sequence
from typing import Literal

from cyclopts import Parameter, Token

from core.registry import FOLDER

GPUS: Literal["gpus"] = "gpus"
LONGEST = 10_000  # numbers in a range


def _names(_: object, tokens: Sequence[Token]) -> list[str]:
    return [name for token in tokens for part in _split(token.value) if (name := part.strip())]


def _split(text: str) -> Iterator[str]:
    """Splits at commas, except at that of a variant `ir=RATIO,n=SIZE` and at those of the longest existing `folder:PATH`."""
    parts = re.split(r",(?!\s*n=)", text)
    while parts:
        count = next((n for n in range(len(parts), 1, -1) if _is_existing_folder(",".join(parts[:n]))), 1)
        yield ",".join(parts[:count])
        del parts[:count]


def _is_existing_folder(text: str) -> bool:
    name = text.strip()
    return name.lower().startswith(FOLDER) and os.path.isdir(os.path.expanduser(name[len(FOLDER) :]))


def _integer(text: str) -> int:
    """Raises ValueError for other text, such as 1.7, which `int` would truncate."""
    if not re.fullmatch(r"[+-]?\d+", text.strip(), re.ASCII):
        raise ValueError(f"{text!r} is not an integer")
    return int(text)


def _integers(_: object, tokens: Sequence[Token]) -> list[int]:
    """Converts numbers and ranges such as 1-5, which commas may separate. Raises ValueError for other text."""
    return [number for token in tokens for part in token.value.split(",") if part.strip() for number in _range(part)]


def _range(text: str) -> Sequence[int]:
    bounds = re.fullmatch(r"\s*(\d+)\s*-\s*(\d+)\s*", text, re.ASCII)
    if bounds is None:
        other = re.fullmatch(r"\s*(\d+)\s*(?::|\.{2,3}|–)\s*(\d+)\s*", text, re.ASCII)  # of Python, Bash or Rust
        if other is not None:
            raise ValueError(f"{text!r} is not a range; did you mean {other[1]}-{other[2]}?")
        return [_integer(text)]
    first, last = map(int, bounds.groups())
    if not first <= last < first + LONGEST:
        raise ValueError(f"{text!r} is not a range of 1 to {LONGEST} numbers, such as 1-5")
    return range(first, last + 1)


Names = Parameter(consume_multiple=True, negative=(), converter=_names)
Texts = Parameter(consume_multiple=True, negative=())  # which may contain commas
Numbers = Parameter(consume_multiple=True, negative=(), converter=_integers)
Number = Parameter(converter=lambda kind, tokens: _integer(tokens[0].value))
Jobs = Parameter(converter=lambda kind, tokens: GPUS if tokens[0].value == GPUS else _integer(tokens[0].value))
