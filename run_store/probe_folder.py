"""Where the records of a backbone from elsewhere live.

OUT/<dataset>-external-split1-seed0-<id>/   (the method's name in place of `external` where a run's backbone is probed)
    config.json    which weights on which data; the id is its hash
    passport.txt   the data that they are probed on
    results.jsonl  one record a probe
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from core.errors import UserError
from core.files import append_line, remove_unfinished, write_json, write_text
from data.passport import Identity, Passport
from probing.pretrained import Subject
from run_store.folder import PASSPORT
from run_store.loading import CONFIG
from run_store.records import RESULTS, Record, read_records

FORMAT = 1  # of config.json: raised when the same weights would be probed otherwise than before


@dataclass(frozen=True)
class Target:
    """One split of one profile of one benchmark."""

    dataset: str
    profile: str
    split: int


@dataclass(frozen=True)
class ProbedFolder:
    """The folder of the records of one backbone from elsewhere on one split."""

    path: Path
    config: Mapping[str, Any]
    run_id: str

    @classmethod
    def of(cls, subject: Subject, target: Target, executor: str, out: Path) -> "ProbedFolder":
        """The folder under `out`, whether it exists or not. A file's name has no part in the id, its content has."""
        told = subject.told
        config = {
            "format": FORMAT,
            "weights": subject.weights,
            **vars(target),
            "seed": told["seed"],
            "precision": told["precision"],
            "executor": executor,
        }
        run_id = hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:12]
        name = f"{target.dataset}-{told['method']}-split{target.split}-seed{told['seed']}-{run_id}"
        return cls(out / name, {"label": subject.label, **config}, run_id)

    def missing(self, probes: Iterable[str]) -> list[str]:
        """Those of `probes` that have no record yet."""
        results = self.path / RESULTS
        recorded = {record.probe for record in read_records([results])} if results.exists() else set()
        return [probe for probe in probes if probe not in recorded]

    def lock(self) -> AbstractContextManager:
        """Context in which no other process probes the same. Raises UserError if one does already."""
        try:
            return FileLock(self.path / ".lock").acquire(timeout=0)
        except Timeout as error:
            raise UserError(f"another process works on {self.path}; wait for it, or give another --out") from error

    def begin(self, passport: Passport) -> None:
        """Writes what is probed and on which data; call it under the lock. Raises UserError if records are of other data."""
        remove_unfinished(self.path)
        file = self.path / PASSPORT
        kept = Identity.read(file.read_text()) if file.exists() else None
        if kept is not None and not kept.trained_on(passport):
            raise UserError(
                f"{self.path} has records of other data (passport {kept.short}) than is there now: {passport.line} "
                f"({passport.short}); restore the data or delete the folder"
            )
        write_text(file, passport.text() + "\n")
        write_json(self.path / CONFIG, self.config)

    def add(self, record: Record) -> None:
        """Appends one record, forced to disk."""
        append_line(self.path / RESULTS, record.to_line())
