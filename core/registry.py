"""Registries of named classes and functions, filled by importing a package: methods, backbones, benchmarks, probes."""

import ast
import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Generic, TypeVar

from core.errors import UserError, nearest

T = TypeVar("T", bound=Callable[..., Any])  # classes and functions
ALL = "all"  # group that every registry has
FOLDER = "folder:"  # prefix of a path to the user's own images, in place of the name of a benchmark or an OOD pool


class Registry(Generic[T]):
    """Maps names to entries of one kind, with selection by globs and named groups.

    All modules of `package` are imported on the first look-up, so a new entry needs only a new file in it.
    """

    def __init__(self, kind: str, package: str, groups: Mapping[str, Callable[[T], bool]] | None = None):
        """`groups` maps the name of a group to whether an entry is in it; without a group `all`, this is every entry."""
        self.kind = kind
        self.package = package
        self._groups: Mapping[str, Callable[[T], bool]] = {ALL: lambda entry: True, **(groups or {})}
        self._entries: dict[str, T] = {}
        self._discovered = False

    def register(self, name: str, **facts: Any) -> Callable[[T], T]:
        """Decorator that registers a class or function and sets its `name` and `facts` as attributes.

        Raises ValueError for the name of a group, and, naming both files, for a duplicate name.
        """

        def enter(entry: T) -> T:
            if name in self._groups:
                raise ValueError(f"{self.kind} {name!r} in {inspect.getfile(entry)} has the name of a group; choose another")
            if name in self._entries:
                first, second = inspect.getfile(self._entries[name]), inspect.getfile(entry)
                raise ValueError(f"{self.kind} {name!r} is registered twice: in {first} and in {second}")
            for attribute, value in {"name": name, **facts}.items():
                setattr(entry, attribute, value)
            self._entries[name] = entry
            return entry

        return enter

    def names(self) -> list[str]:
        """All names in order of registration (modules alphabetically)."""
        self._discover()
        return list(self._entries)

    def __iter__(self) -> Iterator[tuple[str, T]]:
        self._discover()
        return iter(self._entries.items())

    def __contains__(self, name: str) -> bool:
        self._discover()
        return name in self._entries

    def __getitem__(self, name: str) -> T:
        self._discover()
        if name not in self._entries:
            raise UserError(f"no {self.kind} is named {name!r}{nearest(name, self._entries)}")
        return self._entries[name]

    def groups(self) -> dict[str, list[str]]:
        """Names of the entries of each group."""
        return {group: [name for name, entry in self if belongs(entry)] for group, belongs in self._groups.items()}

    def select(self, patterns: Iterable[str]) -> list[str]:
        """Names that match any of `patterns`, see the function `select`."""
        return select(self.kind, self.names(), patterns, self.groups())

    def _discover(self) -> None:
        if self._discovered:
            return
        self._discovered = True  # before the imports, which may look up names
        try:
            package = importlib.import_module(self.package)
            for module in sorted(info.name for info in pkgutil.iter_modules(package.__path__)):
                importlib.import_module(f"{self.package}.{module}")
            # a module may have been imported earlier
            self._entries = dict(sorted(self._entries.items(), key=lambda item: item[1].__module__))
        except BaseException:
            self._discovered = False  # retry after a failed import
            raise


def select(kind: str, names: Sequence[str], patterns: Iterable[str], groups: Mapping[str, Iterable[str]]) -> list[str]:
    """Selects the distinct `names` that match any of `patterns`, in the order of the patterns.

    A pattern is a name, a glob, a group, or a family, the prefix before a dash (`ts` for `ts-knn1`, `ts-knn10`), in any case.

    Args:
        kind: kind of entry, for messages.
        names: all names.
        patterns: user input.
        groups: names of the entries of each group.

    Raises:
        UserError: a pattern matches nothing.
    """
    chosen: list[str] = []
    for pattern in patterns:
        lower = pattern.lower()  # as all registered names
        if lower in groups:
            matches = list(groups[lower])
        else:
            matches = [name for name in names if fnmatchcase(name, lower)]
            matches = matches or [name for name in names if name.startswith(f"{lower}-")]
        if not matches:
            raise UserError(f"no {kind} matches {pattern!r}{nearest(pattern, [*names, *groups])}")
        chosen += [name for name in matches if name not in chosen]
    return chosen


def names_in_source(folder: Path) -> list[str] | None:
    """Parses the names that the modules in a folder register from source, which is faster than importing them.

    Returns:
        The names, or None if a name is not a literal or a module cannot be parsed.
    """
    names = []
    for file in sorted(folder.glob("*.py")):
        try:
            tree = ast.parse(file.read_bytes())
        except SyntaxError:
            return None
        for node in ast.walk(tree):
            for call in node.decorator_list if isinstance(node, ast.ClassDef | ast.FunctionDef) else ():
                if not isinstance(call, ast.Call) or ast.unparse(call.func).split(".")[-1] != "register":
                    continue
                if not (call.args and isinstance(call.args[0], ast.Constant)):
                    return None
                names.append(str(call.args[0].value))
    return names
