"""Typed settings: a frozen dataclass whose fields carry their meaning and bounds, and how text becomes their values."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from types import UnionType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from core.errors import UserError, nearest

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Settings = TypeVar("Settings", bound="DataclassInstance")


def setting(default: Any, meaning: str, low: float | None = None, high: float | None = None) -> Any:
    """A dataclass field with its meaning, shown by `list`, and its inclusive bounds, checked whenever it is set."""
    return field(default=default, metadata={"meaning": meaning, "low": low, "high": high})


@dataclass(frozen=True)
class Described:
    """One setting as `list` prints it."""

    name: str
    type: str
    default: Any
    meaning: str


def describe(settings: type) -> list[Described]:
    """The settings of a dataclass, in the order of their declaration."""
    hints = get_type_hints(settings)
    return [Described(f.name, _type_name(hints[f.name]), f.default, f.metadata["meaning"]) for f in fields(settings)]


def with_changes(settings: Settings, changes: Mapping[str, Any], owner: str) -> Settings:
    """A copy with some fields set, each from a value of its type or from text that spells one.

    Args:
        settings: instance of a dataclass made of `setting` fields.
        changes: field name to value or text.
        owner: what messages put before the field's name, as in `simclr.temperature`.

    Raises:
        UserError: unknown field (names the nearest), text that is no such value, or a value out of bounds.
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
    """The value that `text` spells for a type: bool, int, float, str or a type made of it, a Literal, a tuple, a union."""
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
            raise UserError(f"{name}={text} is not a truth value; write true or false")
        return text.lower() == "true"
    try:
        return hint(text)
    except ValueError as error:
        raise UserError(f"{name}={text} is not of type {_type_name(hint)}; its default shows the form: see `list`") from error


def _check_bounds(value: Any, bounds: Mapping[str, Any], name: str) -> None:
    """Raises UserError for a number, or a tuple with one, that is outside the inclusive bounds or not finite."""
    low, high = bounds["low"], bounds["high"]
    for number in value if isinstance(value, tuple) else (value,):
        if isinstance(number, bool | str):
            continue
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
    return getattr(hint, "form", hint.__name__)  # a type made of str tells the form of its text
