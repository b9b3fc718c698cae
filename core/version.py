"""Version of the suite."""

import subprocess
from contextlib import suppress
from pathlib import Path

NAME = "tailbench"
VERSION = "0.1.0"


def version_text() -> str:
    """Name and version; in a git checkout also the commit, which ends in `-dirty` if files were changed since."""
    root = Path(__file__).resolve().parent.parent
    text = f"{NAME} {VERSION}"
    with suppress(OSError, subprocess.CalledProcessError):  # no git, or a checkout of another user
        if (root / ".git").exists():
            command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"]
            commit = subprocess.run(command, check=True, capture_output=True, encoding="utf-8").stdout.strip()
            text += f" (commit {commit})"
    return text
