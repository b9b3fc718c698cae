"""Where a run lives on disk, and what state it is in.

OUT/<dataset>-<method>-split1-seed0-<run id>/
    config.json          the resolved configuration whose hash is the run id
    log.jsonl            one line an epoch
    checkpoint.pt        until the run is trained
    weights.safetensors  the trained method: backbone, heads and per-sample memory
    training.json        what training it cost
    tail_scores.npy      each image's tail score at the end of the last epoch
    by_class.npz         what the method keeps of each image, by class, for figures
    tsne.npz             a sample of the test features, for figures
    passport.txt         the data that it is trained and probed on; a line of it is the hash of what training depends on
    pool.txt             images from elsewhere that it was trained with, if any
    results.jsonl        one record a probe
    error.txt            the traceback of the last failure, if there was one
    done                 written last
"""

import json
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from safetensors.torch import load_file, save
from torch import nn

from core.errors import UserError
from core.files import append_line, remove_unfinished, writable_folder, write_atomic, write_json, write_text
from data.passport import Identity, Passport
from run_store.records import RESULTS, Record, read_records
from training.checkpoint import read_checkpoint
from training.config import RunConfig

PASSPORT = "passport.txt"
POOL = "pool.txt"
TAIL_SCORES = "tail_scores.npy"
State = Literal["DONE", "RESUMABLE", "NEW"]


class Busy(UserError):
    """Another process works on the run."""


@dataclass(frozen=True)
class TrainingFacts:
    """What training a run cost."""

    seconds: float  # over all sittings
    images: int  # source images seen
    peak_memory_mb: float | None  # of the last sitting: on the GPU, or of the process
    device: str
    unreadable: int = 0  # pictures that were left out


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run."""

    path: Path
    config: RunConfig

    @property
    def checkpoint(self) -> Path:
        return self.path / "checkpoint.pt"

    @property
    def log(self) -> Path:
        return self.path / "log.jsonl"

    @property
    def weights(self) -> Path:
        return self.path / "weights.safetensors"

    @property
    def facts(self) -> Path:
        return self.path / "training.json"

    @property
    def error(self) -> Path:
        return self.path / "error.txt"

    @property
    def results(self) -> Path:
        return self.path / RESULTS

    @property
    def done(self) -> Path:
        return self.path / "done"

    def records(self) -> list[Record]:
        """Records written so far."""
        return read_records([self.results], warn=False) if self.results.exists() else []

    def missing(self, probes: Iterable[str]) -> list[str]:
        """Those of `probes` that have no record yet."""
        recorded = {record.probe for record in self.records()}
        return [probe for probe in probes if probe not in recorded]

    def state(self, probes: Iterable[str]) -> State:
        """DONE if trained and all probes are recorded, RESUMABLE if there is something to go on from, else NEW."""
        if self.trained():
            return "DONE" if self.done.exists() and not self.missing(probes) else "RESUMABLE"
        return "RESUMABLE" if self.checkpoint.exists() else "NEW"

    def check(self) -> None:
        """Raises UserError if the checkpoint to go on from is damaged or of another run."""
        if not self.trained() and self.checkpoint.exists():
            read_checkpoint(self.checkpoint, self.config.run_id)

    def create(self) -> None:
        """Makes the folder."""
        writable_folder(self.path, "--out")

    def begin(self, passport: Passport, pool: str | None = None) -> None:
        """Clears what a killed process left half-written and writes the configuration; call it under the lock.

        Args:
            passport: of the data that the run is trained and probed on.
            pool: what images from elsewhere the run draws on, with their hash.

        Raises:
            UserError: the run is trained, or half-trained, on other images. Other lists of the probes do not matter.
        """
        remove_unfinished(self.path)
        kept = self.identity()
        if (self.trained() or self.checkpoint.exists()) and kept is not None and not kept.trained_on(passport):
            raise UserError(
                f"{self.path} was trained on other data (passport {kept.short}) than is there now: {passport.line} "
                f"({passport.short}); restore the data or delete the folder"
            )
        write_text(self.path / PASSPORT, passport.text() + "\n")
        if pool is not None and not self.trained():
            if self.checkpoint.exists() and self.pool() != pool:
                raise UserError(f"{self.path} began with the pool {self.pool()}, not {pool}; restore it or delete the folder")
            write_text(self.path / POOL, pool + "\n")
        write_json(self.path / "config.json", self.config.to_json())

    def lock(self) -> AbstractContextManager:
        """Context in which no other process works on the run. Raises UserError if one does already."""
        try:
            return FileLock(self.path / ".lock").acquire(timeout=0)
        except Timeout as error:
            raise Busy(f"another process works on {self.path}; wait for it, or give another --out") from error

    def trained(self) -> bool:
        """Whether nothing is left but probing."""
        return self.weights.exists() and self.facts.exists()

    def save_trained(self, method: nn.Module, facts: TrainingFacts) -> None:
        """Keeps the trained method and what it cost, and drops the checkpoint, which nothing can go on from any more."""
        tensors = {name: tensor.contiguous().cpu() for name, tensor in method.state_dict().items()}
        write_atomic(self.weights, lambda file: file.write(save(tensors)))
        write_json(self.facts, asdict(facts))
        self.checkpoint.unlink(missing_ok=True)

    def training_facts(self) -> TrainingFacts:
        """What training cost."""
        try:
            return TrainingFacts(**json.loads(self.facts.read_text()))
        except (OSError, ValueError, TypeError) as error:
            raise self._damaged(self.facts) from error

    def last_epoch(self) -> dict[str, Any]:
        """The log's last line; empty where nothing was trained."""
        try:
            lines = self.log.read_text().splitlines() if self.log.exists() else []
            return json.loads(lines[-1]) if lines else {}
        except (OSError, ValueError) as error:
            raise self._damaged(self.log) from error

    def identity(self) -> Identity | None:
        """What the passport says of the data that the run was begun with, or probed on since."""
        file = self.path / PASSPORT
        found = Identity.read(file.read_text(errors="replace")) if file.exists() else None
        if found is not None and not found.short:
            raise self._damaged(file)
        return found

    def pool(self) -> str | None:
        """The images from elsewhere that the run was trained with."""
        file = self.path / POOL
        return file.read_text().strip() if file.exists() else None

    def keep_tail_scores(self, scores: NDArray[np.float32]) -> None:
        """Writes the (N,) tail scores of the last epoch, in the order of the pretraining list."""
        write_atomic(self.path / TAIL_SCORES, lambda file: np.save(file, scores))

    def load_weights(self, method: nn.Module) -> None:
        """Restores the trained method, strictly. Raises UserError if the file is damaged or of another network."""
        try:
            method.load_state_dict(load_file(self.weights), strict=True)
        except Exception as error:  # safetensors and torch have no common error for a foreign file
            raise UserError(f"{self.weights} is damaged or foreign; delete {self.path} to train this run again") from error

    def _damaged(self, file: Path) -> UserError:
        return UserError(f"{file} is damaged; restore it, or delete {self.path} to train this run again")

    def add(self, record: Record) -> None:
        """Appends one record, forced to disk."""
        append_line(self.results, record.to_line())

    def finish(self) -> None:
        """Marks the run as done."""
        write_text(self.done, self.config.run_id + "\n")
        self.error.unlink(missing_ok=True)
        self.checkpoint.unlink(missing_ok=True)


def folder_of(out: Path, config: RunConfig) -> RunFolder:
    """The folder of a run under `out`, whether it exists or not."""
    name = f"{config.dataset}-{config.method}-split{config.split}-seed{config.seed}-{config.run_id}"
    return RunFolder(out / name, config)
