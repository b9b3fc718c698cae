"""Runs of a shared folder in any state, and leases of other workers, for tests."""

import json
import os
from pathlib import Path
from typing import Any

from run_store.layout import LEASE
from run_store.lease import SIZE, STALE, _namespace, _system

ELSEWHERE = {"host": "far", "pid": 77, "system": "another machine", "namespace": "its own"}
HERE = {"host": "near", "pid": os.getpid(), "system": _system(), "namespace": _namespace()}
TOKEN = "0123456789abcdef"
CONFIG = {"method": "simclr", "hparams": {}, "recipe": {}, "seed": 0}
FILES = {
    "config": ("config.json", json.dumps(CONFIG)),
    "checkpoint": ("checkpoint.pt", ""),
    "previous": ("checkpoint.previous.pt", ""),
    "trained": ("training.json", '{"seconds": 30.5}'),
    "weights": ("weights.safetensors", ""),
    "knn": ("results.jsonl", '{"probe": "knn"}\n{"pro'),
    "error": ("error.txt", "Traceback\n  line\nDiverged: the loss is not finite\n"),
    "done": ("done", "abc\n"),
}
DONE = ("config", "trained", "weights", "knn", "done")


def write_lease(folder: Path, age: float = 0.0, name: str = LEASE, **content: Any) -> Path:
    """Writes the lease of a worker of another machine, or with other `content`, whose last heartbeat was `age` seconds ago."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    file.write_text(json.dumps({"token": TOKEN, **ELSEWHERE, **content}).ljust(SIZE))
    now = file.stat().st_mtime
    os.utime(file, (now - age, now - age))
    return file


def make_run(folder: Path, *files: str) -> Path:
    """Writes the named files of a run; `fresh` and `stale` are leases."""
    folder.mkdir(exist_ok=True)
    for name in files:
        if name in ("fresh", "stale"):
            write_lease(folder, 0 if name == "fresh" else STALE + 1)
        else:
            (folder / FILES[name][0]).write_text(FILES[name][1])
    return folder
