"""The folder of a training run: its state, and how its files are written and read. File names: `layout`."""

import hashlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.torch import load, save
from torch import nn

from core.arrays import write_arrays
from core.errors import UserError, is_out_of_memory
from core.files import read_bytes, read_text, remove_unfinished, write_atomic, write_json, write_text
from core.schema import InvalidData, damaged, decode, read_json
from data.passport import Passport
from run_store.layout import CHECKPOINT, CONFIG, DONE, ERROR, LOG, POOL, TAIL_SCORES, TRAINING, WEIGHTS
from run_store.passport import write_passport
from run_store.record_folder import RecordFolder
from run_store.states import State, is_trained, run_state
from training.checkpoint import delete_checkpoints, has_checkpoint, read_latest
from training.config import RunConfig
from training.log import LogLine, log_lines


@dataclass(frozen=True)
class TrainingFacts:
    """Time, memory, device and warnings of the training of a run."""

    seconds: float  # summed over resumed processes
    images: int  # source images seen
    peak_memory_mb: float | None  # of the last process: on the GPU, or resident
    device: str
    unreadable: int = 0  # image files that were skipped
    warnings: list[str] = field(default_factory=list)  # on collapse, from `training.collapse.find_warnings`
    processes: int = 1  # of the last part of the training, if it was resumed
    compiled: bool = False  # networks, in the last part of the training
    weights_sha256: str | None = None  # of the file of weights, from `save_trained`; None in folders of earlier versions


@dataclass(frozen=True)
class RunFolder(RecordFolder):
    """The folder of a training run."""

    config: RunConfig

    @property
    def checkpoint(self) -> Path:
        return self.path / CHECKPOINT

    @property
    def log(self) -> Path:
        return self.path / LOG

    @property
    def weights(self) -> Path:
        return self.path / WEIGHTS

    @property
    def facts(self) -> Path:
        return self.path / TRAINING

    @property
    def error(self) -> Path:
        return self.path / ERROR

    @property
    def done(self) -> Path:
        return self.path / DONE

    def state(self, probes: Iterable[str]) -> State:
        """State of the run, from `run_state`; DAMAGED if no checkpoint can be read.

        A DAMAGED run fails, and its message names the file to delete.
        """
        state = run_state(self.path, self.is_done(probes))
        if state in ("RESUMABLE", "FAILED") and not self.trained() and has_checkpoint(self.checkpoint):
            try:
                read_latest(self.checkpoint, self.config.run_id)
            except UserError:
                return "DAMAGED"
        return state

    def is_done(self, probes: Iterable[str]) -> bool:
        """Whether the run is trained and all probes are recorded."""
        return self.trained() and self.done.exists() and not self.missing(probes)

    def begin(self, passport: Passport, pool: str | None = None) -> None:
        """Removes what an earlier attempt has left and writes configuration and passport; requires the lock.

        Args:
            passport: of the data that the run is trained and probed on.
            pool: name, size and hash of the OOD pool, if the run uses one.

        Raises:
            UserError: the run was trained, at least partly, on other images. Index lists of probes may differ.
        """
        remove_unfinished(self.path)
        self.error.unlink(missing_ok=True)
        if self.trained() or has_checkpoint(self.checkpoint):
            self.check_data(passport)
        write_passport(self.path, passport)
        if pool is not None and not self.trained():
            if has_checkpoint(self.checkpoint) and self.pool() != pool:
                raise UserError(
                    f"{self.path} was trained with the OOD pool {self.pool()}, not {pool}; restore it or delete the folder"
                )
            write_text(self.path / POOL, pool + "\n")
        write_json(self.path / CONFIG, self.config.to_json())

    def trained(self) -> bool:
        """Whether training is complete."""
        return is_trained(self.path)

    def save_trained(self, method: nn.Module, facts: TrainingFacts) -> None:
        """Writes the trained method and the facts of its training, and deletes the checkpoints. Raises like `check_lease`."""
        self.check_lease()
        data = save({name: tensor.contiguous().cpu() for name, tensor in method.state_dict().items()})
        write_atomic(self.weights, lambda file: file.write(data))
        write_json(self.facts, asdict(replace(facts, weights_sha256=hashlib.sha256(data).hexdigest())))
        delete_checkpoints(self.checkpoint)

    def training_facts(self) -> TrainingFacts:
        """Reads `training.json`. Raises UserError if it is damaged."""
        return read_json(self.facts, TrainingFacts, self._advice)

    def last_epoch(self) -> LogLine | None:
        """Last line of the log; None without epochs. Raises UserError if it is damaged."""
        lines = log_lines(self.log)
        try:
            return decode(lines[-1], LogLine) if lines else None
        except InvalidData as error:
            raise damaged(self.log, error, self._advice) from error

    def pool(self) -> str | None:
        """Name, size and hash of the OOD pool that the run was trained with. Raises UserError if it cannot be read."""
        file = self.path / POOL
        try:
            return read_text(file).strip() if file.exists() else None
        except OSError as error:
            raise damaged(file, error, self._advice) from error

    def save_tail_scores(self, scores: NDArray[np.float32]) -> None:
        """Writes the (N,) `scores` of the last epoch, in the order of the pretraining list. Raises like `check_lease`."""
        self.check_lease()
        write_arrays(self.path / TAIL_SCORES, scores=scores)

    def load_weights(self, network: nn.Module, prefix: str = "") -> None:
        """Loads the tensors of the trained method whose names begin with `prefix` into a network, strictly.

        Raises:
            UserError: they are damaged or of another network.
        """
        expected = self.training_facts().weights_sha256
        try:
            data = read_bytes(self.weights)
            if expected is not None and hashlib.sha256(data).hexdigest() != expected:
                raise ValueError("wrong checksum")
            tensors = {name.removeprefix(prefix): tensor for name, tensor in load(data).items() if name.startswith(prefix)}
            network.load_state_dict(tensors, strict=True)
        except Exception as error:  # safetensors and torch have no common exception
            if is_out_of_memory(error):
                raise
            raise UserError(
                f"{self.weights} is damaged or of another network; delete {self.path} to train this run again"
            ) from error

    def finish(self) -> None:
        """Marks the run as done. Raises like `check_lease`."""
        self.check_lease()
        write_text(self.done, self.config.run_id + "\n")
        self.error.unlink(missing_ok=True)
        delete_checkpoints(self.checkpoint)

    @property
    def _advice(self) -> str:
        return f"restore it, or delete {self.path} to train this run again"


def folder_of(out: Path, config: RunConfig) -> RunFolder:
    """Returns the folder of a run under `out`, which may not exist yet."""
    name = f"{config.dataset}-{config.method}-split{config.split}-seed{config.seed}-{config.run_id}"
    return RunFolder(out / name, config)
