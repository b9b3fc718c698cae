"""Leases of other workers, for tests."""

import json
import os
from pathlib import Path
from typing import Any

from run_store.layout import LEASE
from run_store.lease import SIZE, _namespace, _system

ELSEWHERE = {"host": "far", "pid": 77, "system": "another machine", "namespace": "its own"}
HERE = {"host": "near", "pid": os.getpid(), "system": _system(), "namespace": _namespace()}
TOKEN = "0123456789abcdef"


def write_lease(folder: Path, age: float = 0.0, name: str = LEASE, **content: Any) -> Path:
    """Writes the lease of a worker of another machine, or with other `content`, whose last heartbeat was `age` seconds ago."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    file.write_text(json.dumps({"token": TOKEN, **ELSEWHERE, **content}).ljust(SIZE))
    now = file.stat().st_mtime
    os.utime(file, (now - age, now - age))
    return file
