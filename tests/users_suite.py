"""A copy of the suite with a user's file of methods, and its command line."""

import shutil
import subprocess
import sys
from pathlib import Path

from tests.conftest import DEADLINE, ROOT

PACKAGES = ("backbones", "commands", "core", "data", "eval", "grid", "parallel", "probing", "run_store", "training")


def users_suite(folder: Path, methods: str) -> Path:
    """Makes the copy in `folder`; `methods` is the text of the file."""
    copy = folder / "suite"
    copy.mkdir()
    for package in PACKAGES:
        (copy / package).symlink_to(ROOT / package)
    shutil.copy(ROOT / "bench.py", copy)
    shutil.copytree(ROOT / "methods", copy / "methods", ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "methods" / "users.py").write_text(methods)
    return copy


def run_command(suite: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Runs `bench.py` of the copy."""
    command = [sys.executable, str(suite / "bench.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE)
