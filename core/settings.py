"""Typed settings: frozen dataclasses whose fields have a description and bounds, and parsing of their values from text."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from sys import float_info
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from msgspec import Meta

from core.errors import UserError, nearest
from core.schema import InvalidData, convert

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
        changes: field name to a value of its type, or to text that is parsed. An integer stays one in a field of type float,
            as the hash of a run's configuration depends on it.
        owner: prefix of field names in messages, as in `simclr.temperature`.

    Raises:
        UserError: unknown field (names the nearest match), a value or text of another type, or a value out of bounds.
    """
    hints = get_type_hints(type(settings))
    known = {f.name: f for f in fields(settings)}
    values = {}
    for name, given in changes.items():
        if name not in known:
            raise UserError(f"{owner} has no setting {name!r}{nearest(name, known)}")
        values[name] = _converted(given, hints[name], f"{owner}.{name}")
        _check_bounds(values[name], known[name].metadata, f"{owner}.{name}")
    return replace(settings, **values)


def _converted(given: Any, hint: Any, name: str) -> Any:
    """Converts a value or text to the first member of `hint` that accepts it. Raises UserError if none does."""
    if isinstance(given, str) and not given.isprintable():  # lone surrogates, as in non-UTF-8 paths, and line breaks
        raise UserError(f"{name}={given!r} has characters that cannot be printed; choose another value or path")
    for member in get_args(hint) if get_origin(hint) is UnionType else (hint,):
        with suppress(ValueError, InvalidData):
            return convert(_parsed(given, member) if isinstance(given, str) else given, _exact(member), dec_hook=_subtype)
    if get_origin(hint) is Literal:
        raise UserError(f"{name}={given} is not one of its values{nearest(str(given), get_args(hint))}")
    if get_origin(hint) is UnionType:
        raise UserError(f"{name}={given} is not of the form {_type_name(hint)}")
    if hint is bool:
        raise UserError(f"{name}={given} is not a boolean; use true or false")
    raise UserError(f"{name}={given} is not of type {_type_name(hint)}; see its default in `list`")


def _parsed(text: str, hint: Any) -> Any:
    """Parses text as Python does, for `.5`, and without msgspec's 1 for true. Raises ValueError."""
    if get_origin(hint) is tuple:
        return [_parsed(part, get_args(hint)[0]) for part in text.split(",")]
    if hint is bool:
        return {"true": True, "false": False}.get(text.lower())
    return hint(text) if hint in (int, float) else text


def _exact(hint: Any) -> Any:
    """The type that values have: float settings accept and keep integers."""
    return int | float if hint is float else hint


def _subtype(kind: type, value: Any) -> Any:
    """Creates a value of a subtype of str, which raises ValueError for text of another form."""
    if not isinstance(value, str):
        raise ValueError(f"not of type {_type_name(kind)}")
    return value if isinstance(value, kind) else kind(value)


def _check_bounds(value: Any, bounds: Mapping[str, Any], name: str) -> None:
    """Raises UserError for a number, or an element of a tuple, that is out of bounds or not finite."""
    low, high = bounds["low"], bounds["high"]
    for number in value if isinstance(value, tuple) else (value,):
        if isinstance(number, bool | str):
            continue
        at_most = LARGEST_INT if isinstance(number, int) and high is None else high
        limits = Meta(ge=-float_info.max if low is None else low, le=float_info.max if at_most is None else at_most)
        bounded: Any = Annotated[float, limits]
        try:
            convert(number, bounded)
        except InvalidData as error:
            allowed = f"from {low} to {at_most}" if at_most is not None else f"at least {low}" if low is not None else "finite"
            raise UserError(f"{name}={number} is out of range; it must be {allowed}") from error


def _type_name(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return "|".join(map(str, get_args(hint)))
    if get_origin(hint) is tuple:
        return f"{_type_name(get_args(hint)[0])},..."
    if get_origin(hint) is UnionType:
        return "|".join(map(_type_name, get_args(hint)))
    return getattr(hint, "form", hint.__name__)  # a subtype of str may describe its format
