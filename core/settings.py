"""Typed settings: frozen dataclasses whose fields have a description and bounds, and parsing of their values from text."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from types import UnionType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from core.errors import UserError, nearest

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Settings = TypeVar("Settings", bound="DataclassInstance")
LARGEST_INT = 2**31 - 1  # upper bound of integers without a bound of their own: products of two fit into 64 bits


def setting(default: Any, meaning: str, low: float | None = None, high: float | None = None) -> Any:
    """Declares a dataclass field with a description, printed by `list`, and inclusive bounds, checked on every change."""
    return field(default=default, metadata={"meaning": meaning, "low": low, "high": high})


@dataclass(frozen=True)
class Described:
    """Description of one setting, as printed by `list`."""

    name: str
    type: str
    default: Any
    meaning: str


def describe(settings: type) -> list[Described]:
    """Describes the settings of a dataclass in order of declaration."""
    hints = get_type_hints(settings)
    return [Described(f.name, _type_name(hints[f.name]), f.default, f.metadata["meaning"]) for f in fields(settings)]


def with_changes(settings: Settings, changes: Mapping[str, Any], owner: str) -> Settings:
    """Returns a copy with changed fields.

    Args:
        settings: instance of a dataclass of `setting` fields.
        changes: field name to a value of its type, or to text that is parsed.
        owner: prefix of field names in messages, as in `simclr.temperature`.

    Raises:
        UserError: unknown field (names the nearest match), unparsable text, or a value out of bounds.
    """
    hints = get_type_hints(type(settings))
    known = {f.name: f for f in fields(settings)}
    values = {}
    for name, given in changes.items():
        if name not in known:
            raise UserError(f"{owner} has no setting {name!r}{nearest(name, known)}")
        value = _parse(given, hints[name], f"{owner}.{name}") if isinstance(given, str) else given
        _check_bounds(value, known[name].metadata, f"{owner}.{name}")
        values[name] = value
    return replace(settings, **values)


def _parse(text: str, hint: Any, name: str) -> Any:
    """Parses `text` as a type: bool, int, float, str or a subtype, Literal, tuple or union."""
    if get_origin(hint) is UnionType:
        for member in get_args(hint):
            with suppress(UserError):
                return _parse(text, member, name)
        raise UserError(f"{name}={text} is not of the form {_type_name(hint)}")
    if get_origin(hint) is Literal:
        if text not in get_args(hint):
            raise UserError(f"{name}={text} is not one of its values{nearest(text, get_args(hint))}")
        return text
    if get_origin(hint) is tuple:
        return tuple(_parse(part, get_args(hint)[0], name) for part in text.split(","))
    if hint is bool:
        if text.lower() not in ("true", "false"):
            raise UserError(f"{name}={text} is not a boolean; use true or false")
        return text.lower() == "true"
    try:
        return hint(text)
    except ValueError as error:
        raise UserError(f"{name}={text} is not of type {_type_name(hint)}; see its default in `list`") from error


def _check_bounds(value: Any, bounds: Mapping[str, Any], name: str) -> None:
    """Raises UserError for a number, or an element of a tuple, that is out of bounds or not finite."""
    for number in value if isinstance(value, tuple) else (value,):
        if isinstance(number, bool | str):
            continue
        low, high = bounds["low"], bounds["high"]
        if isinstance(number, int) and high is None:
            high = LARGEST_INT
        if not ((low is None or number >= low) and (high is None or number <= high) and abs(number) < float("inf")):
            allowed = f"from {low} to {high}" if high is not None else f"at least {low}" if low is not None else "finite"
            raise UserError(f"{name}={number} is out of range; it must be {allowed}")


def _type_name(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return "|".join(map(str, get_args(hint)))
    if get_origin(hint) is tuple:
        return f"{_type_name(get_args(hint)[0])},..."
    if get_origin(hint) is UnionType:
        return "|".join(map(_type_name, get_args(hint)))
    return getattr(hint, "form", hint.__name__)  # a subtype of str may describe its format
