"""Members of tar archives, read in place: the path `images/train-0.tar/cat/7.jpg` names the member `cat/7.jpg`.

A process reads the headers of an archive once, and then each member at its offset. A path without `.tar/` is that of an
ordinary file, which costs no further system call.
"""

import errno
import os
import re
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

import core.files
from core.errors import UserError, first_line
from core.words import counted, listed

_ARCHIVE = re.compile(r"\.tar(?=/)")  # in the path of a member; a folder may have such a name too
_END = bytes(tarfile.BLOCKSIZE)  # header after the last member


class Place(NamedTuple):
    """Where the content of a member is in its archive."""

    offset: int  # in bytes
    size: int


_read: dict[str, tuple[tuple[int, ...], Mapping[str, Place]]] = {}  # by path of the archive: its state, and its members


def members(archive: str) -> Mapping[str, Place]:
    """The regular files in an uncompressed archive by name, in their order; a leading `./` of names is omitted.

    Raises:
        UserError: the archive cannot be read, is damaged, truncated or compressed, or has members of the same name.
    """
    try:
        status = os.stat(archive)
        state = (status.st_ino, status.st_mtime_ns, status.st_size)
        if archive not in _read or _read[archive][0] != state:
            _read[archive] = state, _read_headers(archive)
    except OSError as error:
        raise UserError(f"{archive} cannot be read ({error.strerror or first_line(error)}); restore it") from error
    return _read[archive][1]


def split(path: str) -> tuple[str, str] | None:
    """Archive and name of the member in the path of a member; None for the path of an ordinary file."""
    for suffix in _ARCHIVE.finditer(path):
        archive = path[: suffix.end()]
        if archive in _read or os.path.isfile(archive):
            return archive, path[suffix.end() + 1 :]
    return None


def read_bytes(path: str) -> bytes:
    """Returns the content of an ordinary file, like `core.files.read_bytes`, or of a member of an archive; thread-safe.

    Raises:
        OSError: the file, the archive or the member cannot be read.
        UserError: see `members`.
    """
    found = _find(path)
    if found is None:
        return core.files.read_bytes(Path(path))
    archive, (offset, size) = found
    with open(archive, "rb", buffering=0) as file:
        return os.pread(file.fileno(), size, offset)


@contextmanager
def opened(path: str) -> Iterator[IO[bytes]]:
    """Context with the file that `read_bytes` reads, without reading all of it. Raises like `read_bytes`."""
    found = _find(path)
    if found is None:
        with open(path, "rb") as file:
            yield file
        return
    archive, place = found
    member = tarfile.TarInfo()
    member.offset_data, member.size = place
    with tarfile.open(archive, "r:") as tar:
        content = tar.extractfile(member)
        assert content is not None  # as it is a regular file
        yield content


def _find(path: str) -> tuple[str, Place] | None:
    """Archive and place of a member; None for an ordinary file. Raises FileNotFoundError if the archive lacks the member."""
    parts = split(path)
    if parts is None:
        return None
    archive, name = parts
    places = _read[archive][1] if archive in _read else members(archive)  # without `stat`, as this is called for every image
    if name not in places:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    return archive, places[name]


def _read_headers(archive: str) -> Mapping[str, Place]:
    places: dict[str, Place] = {}
    repeated = []
    try:
        with tarfile.open(archive, "r:") as tar, open(archive, "rb") as file:
            for member in tar:
                if member.isreg():
                    name = member.name.removeprefix("./")
                    if name in places:
                        repeated.append(name)
                    places[name] = Place(member.offset_data, member.size)
            file.seek(tar.offset)  # `tarfile` also stops, without an error, at a damaged header and at the end of the file
            if file.read(len(_END)) != _END:
                raise tarfile.ReadError(f"no header of a member, and no end of the archive, at byte {tar.offset:,}")
    except (OSError, MemoryError):
        raise
    except Exception as error:  # `tarfile` raises various exceptions for damaged archives
        raise UserError(
            f"{archive} is truncated, damaged or not an uncompressed tar file ({first_line(error)}); restore or decompress it"
        ) from error
    if repeated:
        raise UserError(
            f"{archive} has several members of {counted(len(repeated), 'name')}: {listed(repeated)}; write it again"
        )
    return places
