"""Typed reading of JSON: content that does not fit its declared type is one error, with the place in the content.

Declarations are dataclasses, `msgspec.Struct`, `TypedDict` and builtin types. Text has to be UTF-8 without lone surrogates, and
numbers finite.
"""

from functools import cache
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec

from core.errors import UserError, first_line
from core.files import read_bytes

T = TypeVar("T")
Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]  # exact as a float
Percent = Annotated[float, msgspec.Meta(ge=0, le=100)]


class InvalidData(UserError):
    """Content of a file is not of its declared type."""


def decode(text: bytes, kind: type[T]) -> T:
    """Decodes JSON as a value of type `kind`. Raises InvalidData, which gives the reason and the place, like `$.recipe.lr`."""
    try:
        decoder: msgspec.json.Decoder[T] = _decoder(kind)  # type: ignore[arg-type]
        return decoder.decode(text)
    except (ValueError, RecursionError) as error:  # msgspec's errors and UnicodeDecodeError are ValueErrors
        raise InvalidData(_reason(error)) from error


def encode(value: Any) -> bytes:
    """Encodes builtin values as one line of JSON; numbers that are not finite become null."""
    return msgspec.json.encode(value)


def convert(value: Any, kind: type[T], **options: Any) -> T:
    """Converts builtin values to type `kind`; `options` are those of `msgspec.convert`. Raises InvalidData like `decode`."""
    try:
        return msgspec.convert(value, kind, **options)
    except (ValueError, RecursionError) as error:
        raise InvalidData(_reason(error)) from error


def read_json(path: Path, kind: type[T], advice: str) -> T:
    """Reads a JSON file as a value of type `kind`. Raises InvalidData with the path, the reason and `advice`."""
    try:
        return decode(read_bytes(path), kind)
    except (OSError, InvalidData) as error:
        raise damaged(path, error, advice) from error


def damaged(path: Path, error: Exception, advice: str) -> InvalidData:
    """The error for a file that cannot be read or has invalid content, in one line."""
    reason = error.strerror if isinstance(error, OSError) and error.strerror else first_line(error)
    return InvalidData(f"{path} is damaged ({reason}); {advice}")


@cache
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)


def _reason(error: Exception) -> str:
    return "it is nested too deeply" if isinstance(error, RecursionError) else first_line(error)
