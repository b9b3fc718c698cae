"""Verified downloads: atomic, and safe with concurrent processes."""

import logging
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pooch
import requests
from filelock import FileLock
from urllib3.exceptions import NewConnectionError

from core.errors import UserError, first_line
from core.files import writable_folder

log = logging.getLogger(__name__)

SCRATCH = ".fetch-"  # prefix of folders of unfinished downloads
SILENCE_SECONDS = 30  # network timeout
PIECE = 1 << 20  # bytes; pooch's default of 1 KiB is slow for large files
ATTEMPTS = 2  # a broken transfer is retried once; a missing connection is not


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Locks `folder` for downloads of one process at a time.

    On entry, `SCRATCH*` folders of killed processes are removed. Raises UserError if the file system has no locks.
    """
    lock = FileLock(folder / ".fetch.lock", fallback_to_soft=False)
    try:
        held = lock.acquire()
    except OSError as error:
        raise UserError(
            f"{lock.lock_file} cannot be locked ({error}); give a --data-root on a file system with locks"
        ) from error
    with held:
        for leftover in folder.glob(f"{SCRATCH}*"):
            shutil.rmtree(leftover, ignore_errors=True)
        yield


def fetch_once(file: Path, fetch: Callable[[], object]) -> None:
    """Calls `fetch` if `file` is missing; only one of several concurrent processes does."""
    if not file.is_file():
        writable_folder(file.parent, "--data-root")
        with exclusive(file.parent):
            if not file.is_file():
                fetch()


def download(
    what: str,
    url: str,
    file: Path,
    checksum: str | None,
    *,
    member: str | None = None,
    check: Callable[[Path], object] = lambda fetched: None,
    otherwise: str,
) -> None:
    """Downloads `url` with a progress bar, verifies it and renames it to `file`; call it within `fetch_once`.

    Args:
        what: description for messages.
        url: address.
        file: target path in an existing folder.
        checksum: of the download, `sha256:...` or `md5:...`; None to skip verification.
        member: name of the file to extract if the download is a tar archive.
        check: validates the downloaded file; may raise any exception.
        otherwise: advice if the download fails, a clause.

    Raises:
        UserError: the download or its verification fails.
    """
    log.info("%s: downloading %s", what, url)
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with tempfile.TemporaryDirectory(dir=file.parent, prefix=SCRATCH) as scratch:
                fetched = Path(_retrieve(url, checksum, Path(scratch)))
                if member is not None:
                    unpack(fetched, Path(scratch) / "unpacked")
                    fetched = Path(scratch) / "unpacked" / member
                    if fetched.is_symlink() or not fetched.is_file():
                        raise UserError(f"{url} contains no file {member}")
                check(fetched)
                new = Path(scratch) / ".new"
                new.touch()
                shutil.copymode(new, fetched)  # pooch creates private files; a new file has the permissions of the umask
                fetched.replace(file)
            return
        except Exception as error:  # from network, proxy, file system or parser
            offline = _offline(error)
            why = "no connection" if offline else first_line(error)
            if offline or _refused(error) or attempt == ATTEMPTS:
                raise UserError(f"{what} is not at {file} and cannot be downloaded from {url} ({why}); {otherwise}") from error
            log.info("%s: download failed (%s); retrying", what, why)


def unpack(archive: Path, folder: Path) -> None:
    """Unpacks a tar archive into `folder`.

    Raises:
        UserError: the archive is damaged, or a member or link would be outside the folder.
    """
    try:
        with tarfile.open(archive) as tar:
            for entry in tar:
                if entry.name.startswith(("/", "\\")):
                    raise UserError(f"{archive.name} contains the absolute path {entry.name}, which is not allowed")
                tar.extract(entry, folder, filter=_safe)
    except tarfile.FilterError as error:
        raise UserError(f"{archive.name} would write outside its folder ({first_line(error)})") from error
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise UserError(f"{archive.name} is truncated or not a tar archive ({first_line(error)})") from error


def _safe(entry: tarfile.TarInfo, folder: str) -> tarfile.TarInfo:
    """The filter "data" of `tarfile`, with the permissions of the umask."""
    return tarfile.data_filter(entry, folder).replace(mode=None, deep=False)  # type: ignore[arg-type]  # as documented


def _offline(error: Exception) -> bool:
    """Whether no connection was established; later failures are worth a retry."""
    reason = getattr(error.args[0] if error.args else None, "reason", None)
    return isinstance(error, requests.ConnectTimeout) or isinstance(reason, NewConnectionError)


def _refused(error: Exception) -> bool:
    """Whether the server answered with an HTTP error below 500."""
    return isinstance(error, requests.HTTPError) and error.response is not None and error.response.status_code < 500


def _retrieve(url: str, checksum: str | None, scratch: Path) -> str:
    downloader = pooch.HTTPDownloader(progressbar=True, chunk_size=PIECE, timeout=SILENCE_SECONDS)
    return pooch.retrieve(url, checksum, fname=url.rsplit("/", 1)[1], path=scratch, downloader=downloader)
