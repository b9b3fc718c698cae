"""Files from public addresses: verified, and whole in their place or not there at all, however many processes want them."""

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

SCRATCH = ".fetch-"  # how folders of unfinished downloads begin
SILENCE_SECONDS = 30  # a server that says nothing for this long is given up
PIECE = 1 << 20  # bytes; pooch's own pieces of 1 KiB would be 900,000 of the largest file
ATTEMPTS = 2  # a broken transfer is begun anew once; where there is no connection, a second attempt finds none either


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Lets one process at a time fetch into `folder`; others wait and then find the data there.

    Whoever enters clears away the `SCRATCH*` folders that killed processes left.
    """
    with FileLock(folder / ".fetch.lock"):
        for leftover in folder.glob(f"{SCRATCH}*"):
            shutil.rmtree(leftover, ignore_errors=True)
        yield


def fetch_once(file: Path, fetch: Callable[[], object]) -> None:
    """Lets `fetch` make `file` where it is missing; of several processes at once only one does."""
    if not file.is_file():
        writable_folder(file.parent, "--data-root")
        with exclusive(file.parent):
            if not file.is_file():
                fetch()


def download(
    what: str,
    url: str,
    file: Path,
    known: str | None,
    *,
    member: str | None = None,
    check: Callable[[Path], object] = lambda fetched: None,
    otherwise: str,
) -> None:
    """Fetches `url` with a progress bar, verifies it and renames it to `file`. To be called within `fetch_once`.

    Args:
        what: what is fetched, for messages.
        url: the address.
        file: where it belongs; its folder exists.
        known: the sum of what the address delivers, `sha256:...` or `md5:...`; None where nobody states one.
        member: where the address delivers a tar archive, the name in it of the file that is wanted.
        check: looks at the fetched file before it is put in its place, and raises what it likes.
        otherwise: what the user can do if this fails, in a clause.

    Raises:
        UserError: the address cannot be reached, or does not deliver the file.
    """
    log.info("%s: downloading %s", what, url)
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with tempfile.TemporaryDirectory(dir=file.parent, prefix=SCRATCH) as scratch:
                fetched = Path(_retrieve(url, known, Path(scratch)))
                if member is not None:
                    unpack(fetched, Path(scratch) / "unpacked")
                    fetched = Path(scratch) / "unpacked" / member
                    if fetched.is_symlink() or not fetched.is_file():
                        raise UserError(f"{url} delivers no file {member}")
                check(fetched)
                fetched.chmod(0o644)  # pooch's files are private; a data folder may be shared
                fetched.replace(file)
            return
        except Exception as error:  # whatever a network, a proxy, a full disk or a foreign file can raise
            offline = _offline(error)
            why = "no connection" if offline else first_line(error)
            if offline or _refused(error) or attempt == ATTEMPTS:
                raise UserError(f"{what} is not at {file} and cannot be downloaded from {url} ({why}); {otherwise}") from error
            log.info("%s: that failed (%s); trying once more", what, why)


def unpack(archive: Path, folder: Path) -> None:
    """Unpacks a tar archive into `folder`; no member or link of it may lead out of there.

    Raises:
        UserError: the archive is truncated or damaged, or a member would lie outside the folder.
    """
    try:
        with tarfile.open(archive) as tar:
            for entry in tar:
                if entry.name.startswith(("/", "\\")):
                    raise UserError(f"{archive.name} holds the absolute path {entry.name}; it is not what it should be")
                tar.extract(entry, folder, filter="data")
    except tarfile.FilterError as error:
        raise UserError(f"{archive.name} would write outside its folder ({first_line(error)})") from error
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise UserError(f"{archive.name} is truncated or no tar archive ({first_line(error)})") from error


def _offline(error: Exception) -> bool:
    """Whether the server was never reached; a connection that breaks later may hold the next time."""
    reason = getattr(error.args[0] if error.args else None, "reason", None)
    return isinstance(error, requests.ConnectTimeout) or isinstance(reason, NewConnectionError)


def _refused(error: Exception) -> bool:
    """Whether the server has no such file for us."""
    return isinstance(error, requests.HTTPError) and error.response is not None and error.response.status_code < 500


def _retrieve(url: str, known: str | None, scratch: Path) -> str:
    downloader = pooch.HTTPDownloader(progressbar=True, chunk_size=PIECE, timeout=SILENCE_SECONDS)
    return pooch.retrieve(url, known, fname=url.rsplit("/", 1)[1], path=scratch, downloader=downloader)
