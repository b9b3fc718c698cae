"""Changes of a grid to the recipe and to hyper-parameters: `--set`, and options that are fields of the recipe."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from core.errors import UserError, nearest
from data.recipe import Recipe
from grid.options import GridOptions, option_of
from methods import METHODS

RECIPE = "recipe"
RECIPE_OPTIONS = ("backbone", "epochs", "batch_size", "accumulate")


@dataclass(frozen=True)
class Changes:
    """Values by key, as typed."""

    recipe: dict[str, Any] = field(default_factory=dict)
    hparams: dict[str, dict[str, Any]] = field(default_factory=dict)  # by method


def changes_of(options: GridOptions, methods: Sequence[str]) -> Changes:
    """Changes by the options of a grid of `methods`.

    Raises:
        UserError: a malformed or ambiguous `--set`, an unknown method, or two values for one setting.
    """
    changes = Changes()
    for text in options.set:
        owner, key, value = _parse(text, methods)
        of_owner = changes.recipe if owner == RECIPE else changes.hparams.setdefault(owner, {})
        if of_owner.setdefault(key, value) != value:
            raise UserError(f"--set {owner}.{key} has two values, {of_owner[key]} and {value}; give one")
    for name in RECIPE_OPTIONS:
        value = getattr(options, name)
        if value is not None and changes.recipe.setdefault(name, value) not in (value, str(value)):
            raise UserError(
                f"{option_of(name)} {value} contradicts --set {RECIPE}.{name}={changes.recipe[name]}; give one of them"
            )
    return changes


def _parse(text: str, methods: Sequence[str]) -> tuple[str, str, str]:
    """Splits METHOD.KEY=VALUE, recipe.KEY=VALUE, or KEY=VALUE of a key that one of these has, into owner, key and value."""
    target, equals, value = text.partition("=")
    owner, dot, key = target.rpartition(".")
    if not (equals and key and bool(owner) == bool(dot)):
        raise UserError(f"--set {text} is not of the form METHOD.KEY=VALUE or recipe.KEY=VALUE")
    if not dot:
        return _owner(text, key, methods), key, value
    if owner != RECIPE and owner not in methods:
        if owner in METHODS:
            raise UserError(f"--set {text}: method {owner!r} is not among --methods {' '.join(methods)}")
        raise UserError(f"--set {text}: unknown method {owner!r}{nearest(owner, [*METHODS.names(), RECIPE])}")
    return owner, key, value


def _owner(text: str, key: str, methods: Sequence[str]) -> str:
    """The only one of the recipe and `methods` that has a setting `key`. Raises UserError if there is no or another one."""
    keys = {RECIPE: _keys(Recipe)} | {name: _keys(METHODS[name].Hparams) for name in methods}
    owners = [owner for owner, of_owner in keys.items() if key in of_owner]
    if not owners:
        suggestion = nearest(key, set().union(*keys.values()))
        raise UserError(f"--set {text}: neither the recipe nor one of the methods has a setting {key!r}{suggestion}")
    if len(owners) > 1:
        raise UserError(f"--set {text}: {', '.join(owners)} have this setting; give METHOD.KEY=VALUE, as in {owners[0]}.{text}")
    return owners[0]


def without_setting(options: GridOptions, methods: Sequence[str]) -> list[str]:
    """A line for each KEY=VALUE of `--set` that changes one of several methods: which the others are."""
    lines = []
    for text in options.set:
        owner, key, _ = _parse(text, methods)
        lacking = [name for name in methods if key not in _keys(METHODS[name].Hparams)]
        if lacking and owner != RECIPE and not text.startswith(f"{owner}."):
            verb = "has" if len(lacking) == 1 else "have"
            lines.append(f"--set {text} changes {owner} only; {', '.join(lacking)} {verb} no such setting")
    return lines


def _keys(settings: type) -> set[str]:
    return {field.name for field in fields(settings)}
