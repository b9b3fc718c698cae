"""Atomic and durable writes of files, and reads of regular files."""

import errno
import json
import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from core.errors import UserError

UNFINISHED = ".part"  # suffix of files that are being written


class NotRegularFileError(OSError):
    """A FIFO, socket or device."""


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

    Readers, also after a crash, see either the old or the new content. Raises UserError if the disk is full or the folder is
    not writable.
    """
    temporary = None
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", suffix=UNFINISHED, delete=False) as file:
            temporary = Path(file.name)
            write(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)  # temporary files are private
        temporary.replace(path)
    except OSError as error:
        raise _cannot_write(path, error) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)


def write_text(path: Path, text: str) -> None:
    """Writes `text` atomically as UTF-8; surrogates, as in non-UTF-8 paths, become `?`."""
    write_atomic(path, lambda file: file.write(text.encode(errors="replace")))


def write_json(path: Path, value: Any) -> None:
    """Writes `value` atomically as indented JSON."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def remove_unfinished(folder: Path) -> None:
    """Removes unfinished files of killed processes from `folder`; the caller must be its only writer."""
    for file in folder.glob(f".*{UNFINISHED}"):
        file.unlink(missing_ok=True)


def append_line(path: Path, line: str) -> None:
    """Appends one line and syncs it to disk; terminates an incomplete last line of a crashed process first."""
    try:
        with open(path, "ab+") as file:
            if file.tell() and _last_byte(file) != b"\n":
                file.write(b"\n")
            file.write(line.encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise _cannot_write(path, error) from error


def writable_folder(path: Path, option: str) -> Path:
    """Creates the folder and checks that it is writable. Raises UserError naming `option` otherwise."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise UserError(f"cannot write to {path}: {error.strerror or error}; choose another folder with {option}") from error
    return path


def _cannot_write(path: Path, error: OSError) -> UserError:
    return UserError(f"cannot write {path}: {error.strerror or error}; free space or choose another folder")


def _last_byte(file: IO[bytes]) -> bytes:
    file.seek(-1, os.SEEK_END)
    return file.read(1)


def _sync_folder(folder: Path) -> None:
    """Syncs the folder entry, so that a rename survives a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
