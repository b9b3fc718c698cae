"""Simulated power cuts: records the file operations below a folder and recreates what a disk may hold after each of them.

The model is POSIX's, stricter than common file systems: until a file is synced its new content may be lost, cut or replaced by
zeros in part; until a folder is synced each creation, renaming and deletion in it may be lost, independently of the others.
"""

import os
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from itertools import product
from pathlib import Path
from threading import RLock
from typing import Any
from unittest.mock import patch

EXHAUSTIVE = 1000  # states of one power cut; of more, this many are drawn
CUTS = 8  # places where the new content of a file is cut

Tree = dict[str, bytes | None]  # content by relative path; None for a folder


@dataclass(frozen=True)
class Operation:
    """One file operation; `name` and `target` are relative paths."""

    kind: str  # create, mkdir, write, sync, sync folder, rename, remove; mark, which does nothing
    name: str
    target: str = ""  # of a rename
    content: bytes = b""  # of the file after a write


@dataclass
class _File:
    durable: bytes = b""
    current: bytes = b""


@dataclass
class _Disk:
    """Files, the synced names of files, and the changes of names that are not synced, in order."""

    files: list[_File] = field(default_factory=list)
    names: dict[str, int | None] = field(default_factory=dict)  # number of the file; None for a folder
    synced: dict[str, int | None] = field(default_factory=dict)
    pending: list[tuple[Operation, int | None]] = field(default_factory=list)

    def create(self, name: str, content: bytes | None) -> None:
        """Adds a file, or a folder without content, that is synced."""
        number = None if content is None else len(self.files)
        if content is not None:
            self.files.append(_File(content, content))
        self.names[name] = self.synced[name] = number

    def apply(self, operation: Operation) -> None:
        """Carries out an operation."""
        kind, name = operation.kind, operation.name
        if kind == "create":
            self.names[name] = len(self.files)
            self.files.append(_File())
        elif kind == "mkdir":
            self.names[name] = None
        elif kind == "write":
            self.files[self.names[name]].current = operation.content
        elif kind == "sync":
            file = self.files[self.names[name]]
            file.durable = file.current
        elif kind == "sync folder":
            for change, number in [entry for entry in self.pending if _folder(entry[0].name) == name]:
                _change(self.synced, change, number)
            self.pending = [entry for entry in self.pending if _folder(entry[0].name) != name]
        if kind in ("create", "mkdir", "rename", "remove"):
            number = self.names[name]
            self.pending.append((operation, number))
            if kind in ("rename", "remove"):
                _change(self.names, operation, number)

    def tree(self) -> Tree:
        """Without a power cut."""
        return {name: None if number is None else self.files[number].current for name, number in self.names.items()}

    def states(self, stream: random.Random) -> Iterator[Tree]:
        """Trees that the disk may hold after a power cut."""
        contents = [_contents(file.durable, file.current) for file in self.files]
        choices = [(False, True)] * len(self.pending) + contents
        total = 1
        for choice in choices:
            total *= len(choice)
        if total <= EXHAUSTIVE:
            drawn: Iterator[tuple] = product(*choices)
        else:
            drawn = (tuple(stream.choice(choice) for choice in choices) for _ in range(EXHAUSTIVE))
        for chosen in drawn:
            names = dict(self.synced)
            for done, (change, number) in zip(chosen, self.pending, strict=False):
                if done:
                    _change(names, change, number)
            held = chosen[len(self.pending) :]
            whole = {name: None if number is None else held[number] for name, number in names.items()}
            yield {name: content for name, content in whole.items() if _exists(_folder(name), whole)}


def _folder(name: str) -> str:
    return name.rpartition("/")[0]


def _exists(folder: str, tree: Tree) -> bool:
    return not folder or (folder in tree and _exists(_folder(folder), tree))


def _change(names: dict[str, int | None], operation: Operation, number: int | None) -> None:
    if operation.kind != "create" and operation.kind != "mkdir" and names.get(operation.name, -1) == number:
        del names[operation.name]
    if operation.kind != "remove":
        names[operation.target or operation.name] = number


@cache
def _contents(old: bytes, new: bytes) -> list[bytes]:
    """What a disk may hold of a file with synced and later content: either, and the later cut at places or with zeros."""
    if old == new:
        return [new]
    kept = len(old) if new.startswith(old) else 0
    cuts = {kept, kept + 1, len(new) - 1, *range(kept, len(new), max(1, (len(new) - kept) // CUTS))}
    torn = [new[:cut] for cut in sorted(cuts) if kept <= cut < len(new)]
    zeros = [part + bytes(len(new) - len(part)) for part in torn]
    late = [new[:kept] + bytes(cut - kept) + new[cut:] for cut in sorted(cuts) if kept < cut < len(new)]
    return list(dict.fromkeys([old, new, *torn, *zeros, *late]))


class Recorder:
    """Records the file operations of all threads below `root`. What the folder has at the start is synced."""

    def __init__(self, root: Path):
        self.root, self.operations = root, list[Operation]()
        self._lock = RLock()
        self._disk, self._start = _Disk(), _Disk()
        for disk in (self._disk, self._start):
            for name, content in self._tree().items():
                disk.create(name, content)

    @contextmanager
    def record(self) -> Iterator[None]:
        """Context in which operations are recorded."""
        with (
            patch("os.fsync", self._wrapped(os.fsync, self._sync)),
            patch("os.replace", self._wrapped(os.replace, self._rename)),
            patch("os.rename", self._wrapped(os.rename, self._rename)),
            patch("os.unlink", self._wrapped(os.unlink, self._remove)),
            patch("os.remove", self._wrapped(os.remove, self._remove)),
        ):
            yield
        self._observe()
        assert self._disk.tree() == self._tree()

    def mark(self, name: str) -> None:
        """Adds a place in the sequence: what precedes it is promised to be on the disk."""
        self._observe()
        self._add(Operation("mark", name))

    def power_cuts(self, seed: int = 0) -> Iterator[tuple[list[str], Tree]]:
        """Marks passed and a tree that the disk may hold, for a cut before and after each operation, once each."""
        stream, marks, seen = random.Random(seed), list[str](), set()
        for operation in [None, *self.operations]:
            if operation is not None:
                self._start.apply(operation)
                marks += [operation.name] if operation.kind == "mark" else []
            for tree in self._start.states(stream):
                key = (len(marks), tuple(sorted(tree.items())))
                if key not in seen:
                    seen.add(key)
                    yield list(marks), tree

    def _wrapped(self, function: Callable, record: Callable) -> Callable:
        def call(*arguments: Any, **named: Any) -> Any:
            with self._lock:
                self._observe()
                result = function(*arguments, **named)
                record(*arguments)
                return result

        return call

    def _observe(self) -> None:
        """Records creations and writes since the last operation, which are not wrapped."""
        found, known = self._tree(), self._disk.tree()
        assert known.keys() <= found.keys(), "a file was removed by a function that is not wrapped"
        for name in sorted(found.keys() - known.keys()):
            self._add(Operation("mkdir" if found[name] is None else "create", name))
        for name, content in found.items():
            if content is not None and content != self._disk.tree()[name]:
                self._add(Operation("write", name, content=content))

    def _sync(self, descriptor: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        if path.is_relative_to(self.root):
            self._add(Operation("sync folder" if path.is_dir() else "sync", self._name(path)))

    def _rename(self, old: Path | str, new: Path | str) -> None:
        if Path(old).is_relative_to(self.root):
            self._add(Operation("rename", self._name(old), self._name(new)))

    def _remove(self, path: Path | str) -> None:
        if Path(path).is_relative_to(self.root):
            self._add(Operation("remove", self._name(path)))

    def _add(self, operation: Operation) -> None:
        self.operations.append(operation)
        self._disk.apply(operation)

    def _name(self, path: Path | str) -> str:
        name = Path(path).relative_to(self.root).as_posix()
        return "" if name == "." else name

    def _tree(self) -> Tree:
        return {self._name(path): None if path.is_dir() else path.read_bytes() for path in sorted(self.root.rglob("*"))}


def write_tree(root: Path, tree: Tree) -> None:
    """Makes `root` have exactly this tree."""
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    for name, content in sorted(tree.items()):
        if content is None:
            (root / name).mkdir()
        else:
            (root / name).write_bytes(content)
