"""Named things that are found by importing a package: methods, backbones, benchmarks, probes."""

import ast
import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Generic, TypeVar

from core.errors import UserError, nearest

T = TypeVar("T", bound=Callable[..., Any])  # classes and functions


class Registry(Generic[T]):
    """Maps explicit names to things of one kind, and finds them by globs.

    The package named by `package` is imported at the first look-up, module by module, so a new file in it is all that a
    new entry takes.
    """

    def __init__(self, kind: str, package: str):
        self.kind = kind
        self.package = package
        self._entries: dict[str, T] = {}
        self._discovered = False

    def register(self, name: str, **facts: Any) -> Callable[[T], T]:
        """Decorator that enters a class or function and sets its `name`, and `facts`, as attributes.

        Raises ValueError, naming both files, when two entries want the same name.
        """

        def enter(entry: T) -> T:
            if name in self._entries:
                first, second = inspect.getfile(self._entries[name]), inspect.getfile(entry)
                raise ValueError(f"{self.kind} {name!r} is registered twice: in {first} and in {second}")
            for attribute, value in {"name": name, **facts}.items():
                setattr(entry, attribute, value)
            self._entries[name] = entry
            return entry

        return enter

    def names(self) -> list[str]:
        """All names in the order of registration (modules alphabetically)."""
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

    def select(self, patterns: Iterable[str], everything: Iterable[str] | None = None) -> list[str]:
        """Names that match any of `patterns`: see `select`. `everything` is what `all` stands for (default: every entry)."""
        return select(self.kind, self.names(), patterns, everything)

    def _discover(self) -> None:
        if self._discovered:
            return
        self._discovered = True  # before the imports: they may look names up themselves
        try:
            package = importlib.import_module(self.package)
            for module in sorted(info.name for info in pkgutil.iter_modules(package.__path__)):
                importlib.import_module(f"{self.package}.{module}")
            # a module may have been imported by itself before the others
            self._entries = dict(sorted(self._entries.items(), key=lambda item: item[1].__module__))
        except BaseException:
            self._discovered = False  # half a registry must not pass for a whole one
            raise


def select(kind: str, names: Sequence[str], patterns: Iterable[str], everything: Iterable[str] | None = None) -> list[str]:
    """Those of `names` that match any of `patterns`, each once, in the order asked for.

    A pattern is a name, a glob, `all`, or a family: what names begin with before a dash (`ts` for `ts-knn1`, `ts-knn10`).

    Args:
        kind: what the names are of, for messages.
        names: of all entries.
        patterns: as a user gives them.
        everything: what `all` stands for; None: all of `names`.

    Raises:
        UserError: a pattern matches nothing.
    """
    chosen: list[str] = []
    for pattern in patterns:
        if pattern == "all":
            matches = list(names if everything is None else everything)
        else:
            matches = [name for name in names if fnmatchcase(name, pattern)]
            matches = matches or [name for name in names if name.startswith(f"{pattern}-")]
        if not matches:
            raise UserError(f"no {kind} matches {pattern!r}{nearest(pattern, names)}")
        chosen += [name for name in matches if name not in chosen]
    return chosen


def names_in_source(folder: Path) -> list[str] | None:
    """The names that the modules in a folder register, read from their source: importing them may take seconds.

    Returns:
        None where a name is no literal, so that only an import gives it, or a module cannot be parsed.
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
