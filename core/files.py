"""Atomic and durable writes of files, and reads of regular files.

Files are written under a temporary name, which ends in UNFINISHED, and renamed. Their permissions are those of the umask.
A process that is killed leaves its temporary files, which `remove_unfinished` finds by their locks: a process holds a lock
(flock) on each temporary file that it writes, and the system releases the lock when the process ends. On a network file system
this holds between hosts too, where that system passes locks on; folders are then locked within one host only.
"""

import errno
import fcntl
import glob
import json
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from core.errors import UserError

UNFINISHED = ".part"  # suffix of files and folders that are being written


class NotRegularFileError(OSError):
    """A FIFO, socket or device."""


def expand_user(path: Path) -> Path:
    """Replaces a leading `~` or `~NAME` by the home directory. Raises UserError if there is no such user."""
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise UserError(f"{path}: the home directory {path.parts[0]} is not known; write the whole path") from error


def read_bytes(path: Path) -> bytes:
    """Returns the content of a regular file, which a symbolic link may name.

    Raises OSError, also for a FIFO, socket or device (NotRegularFileError): reading one can block forever.
    """
    if stat.S_IFMT(path.stat().st_mode) not in (stat.S_IFREG, stat.S_IFDIR):
        raise NotRegularFileError(errno.EINVAL, "Not a regular file", str(path))
    return path.read_bytes()  # raises IsADirectoryError for a directory


def read_text(path: Path) -> str:
    """Like `read_bytes`, decoded as UTF-8; invalid bytes become U+FFFD."""
    return read_bytes(path).decode(errors="replace")


def write_atomic(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Writes a temporary file in the folder of `path` with `write`, syncs it to disk and renames it to `path`.

    Readers, also after a crash, see either the old or the new content. Raises UserError if the disk is full, or the folder is
    not writable or was removed.
    """
    with _one_line_errors(path):
        temporary, descriptor = _create_unfinished(path, _create_file)
        try:
            with os.fdopen(descriptor, "wb") as file:
                write(file)
                file.flush()
                os.fsync(descriptor)
                temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        _sync_folder(path.parent)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Context that yields a temporary folder beside `path`, and renames it to `path` if the context ends without an error.

    Raises UserError like `write_atomic`, and if `path` exists and is not an empty folder.
    """
    with _one_line_errors(path):
        temporary, descriptor = _create_unfinished(path, _create_folder)
        try:
            yield temporary
            temporary.replace(path)
        finally:
            os.close(descriptor)
            shutil.rmtree(temporary, ignore_errors=True)
        _sync_folder(path.parent)


def write_text(path: Path, text: str) -> None:
    """Writes `text` atomically as UTF-8; surrogates, as in non-UTF-8 paths, become `?`."""
    write_atomic(path, lambda file: file.write(text.encode(errors="replace")))


def write_json(path: Path, value: Any) -> None:
    """Writes `value` atomically as indented JSON."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def rename(old: Path, new: Path) -> None:
    """Renames a file within its folder; a file at `new` is replaced. Raises UserError like `write_atomic`."""
    with _one_line_errors(new):
        old.replace(new)


def remove_unfinished(folder: Path, name: str | None = None) -> None:
    """Removes unfinished files and folders of killed processes from `folder`, those of `name` only if it is given.

    Those of running processes are locked and kept. On a file system without locks nothing is removed.
    """
    for path in folder.glob(f".{'*' if name is None else glob.escape(name)}.*{UNFINISHED}"):
        with suppress(OSError):  # locked, renamed in the meantime, or of another user
            descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            finally:
                os.close(descriptor)


def append_line(path: Path, line: str) -> None:
    """Appends one line and syncs it to disk; terminates an incomplete last line of a crashed process first.

    Raises UserError like `write_atomic`.
    """
    with _one_line_errors(path):
        new = not path.exists()
        with open(path, "ab+") as file:
            if file.tell() and _last_byte(file) != b"\n":
                file.write(b"\n")
            file.write(line.encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        if new:
            _sync_folder(path.parent)


def check_folder(path: Path, option: str) -> None:
    """Raises UserError naming `option` if `path`, or one above it, is a file."""
    existing = next((folder for folder in (path, *path.parents) if folder.exists()), None)
    if existing is not None and not existing.is_dir():
        raise UserError(f"{option} {path}: {existing} is a file; choose another folder with {option}")


def writable_folder(path: Path, option: str) -> Path:
    """Creates the folder, durably, and checks that it is writable. Raises UserError naming `option` otherwise."""
    try:
        check_folder(path, option)
        missing = [folder for folder in (path, *path.parents) if not folder.exists()]
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
        for folder in missing:
            _sync_folder(folder.parent)
    except OSError as error:
        raise UserError(f"cannot write to {path}: {error.strerror or error}; choose another folder with {option}") from error
    return path


def removed(folder: Path) -> UserError:
    """The error of a folder that existed when the command began."""
    return UserError(f"folder {folder} was removed during the run; repeat the command, and keep the folder until it ends")


@contextmanager
def _one_line_errors(path: Path) -> Iterator[None]:
    """Turns an OSError into a UserError that names `path`, or the folder above it that no longer exists."""
    try:
        yield
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not path.parent.exists():
            raise removed(next(folder for folder in reversed(path.parents) if not folder.exists())) from error
        raise UserError(f"cannot write {path}: {error.strerror or error}; free space or choose another folder") from error


def _create_unfinished(path: Path, create: Callable[[Path], int]) -> tuple[Path, int]:
    """Creates and locks a temporary file or folder beside `path`; returns its path and the descriptor that holds the lock."""
    while True:
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{UNFINISHED}")
        descriptor = create(temporary)
        with suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if temporary.exists():
            return temporary, descriptor
        os.close(descriptor)  # another process has removed it before it was locked


def _create_file(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)


def _create_folder(path: Path) -> int:
    path.mkdir()
    return os.open(path, os.O_RDONLY)


def _last_byte(file: IO[bytes]) -> bytes:
    file.seek(-1, os.SEEK_END)
    return file.read(1)


def _sync_folder(folder: Path) -> None:
    """Syncs the entries of a folder, so that a new or renamed file survives a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
