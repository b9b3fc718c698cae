"""Checkpoints, from which a run resumes bit-identically.

Crash safety: the last checkpoint is renamed to `checkpoint.previous.pt`; the next one is written to a temporary file, flushed
to disk and renamed to `checkpoint.pt`. So a complete checkpoint exists at any time, in whatever order the disk carries out the
renames, and at most two take space. If the last one is damaged, a run resumes from the one before it. Every random stream is a
function of (seed, epoch, step), so no generator is saved.
"""

import io
import logging
import zipfile
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Any

import torch
from torch import nn

from core.errors import UserError, is_out_of_memory
from core.files import read_bytes, rename, write_atomic
from core.schema import convert
from parallel import processes

log = logging.getLogger(__name__)


@dataclass
class Progress:
    """Progress of a run."""

    epoch: int = 0  # current epoch, from 0
    step: int = 0  # completed steps of the current epoch
    seconds: float = 0.0  # training time, summed over resumed processes
    images: int = 0  # source images seen
    epoch_loss: float = 0.0  # sum of per-image losses in the current epoch
    epoch_images: int = 0  # images seen in the current epoch
    loss_scale: float | None = None  # running mean of the losses of steps; None before the first step
    loss_spikes: int = 0  # steps of the current epoch whose loss is far above it
    unreadable: list[str] = field(default_factory=list)  # names of image files that were skipped


def write_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Writes a checkpoint atomically.

    Args:
        path: file of the checkpoint; an existing one becomes the checkpoint before it.
        content: `run_id`; `state` and `optimizer`, state dicts; `progress`, the fields of `Progress`.

    Raises:
        UserError: the disk is full, or the folder is not writable or was removed.
    """
    if path.exists():
        rename(path, previous_checkpoint(path))
    write_atomic(path, partial(_save, content))


def previous_checkpoint(path: Path) -> Path:
    """The file of the checkpoint before the last one."""
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def has_checkpoint(path: Path) -> bool:
    """Whether there is a checkpoint to resume from, in `path` or before it."""
    return path.exists() or previous_checkpoint(path).exists()


def delete_checkpoints(path: Path) -> None:
    """Deletes the last checkpoint and the one before it."""
    path.unlink(missing_ok=True)
    previous_checkpoint(path).unlink(missing_ok=True)


def read_latest(path: Path, run_id: str) -> tuple[Path, dict]:
    """Finds and reads the last checkpoint, or the one before it if the last one is missing or damaged.

    Raises:
        UserError: neither can be read.
    """
    previous = previous_checkpoint(path)
    try:
        return path, read_checkpoint(path, run_id)
    except UserError as error:
        if not previous.exists():
            raise
        try:
            return previous, read_checkpoint(previous, run_id)
        except UserError:
            raise error from None


def load_checkpoint(path: Path, run_id: str, state: nn.Module, optimizer: torch.optim.Optimizer) -> Progress:
    """Restores the state and the optimiser of a run from `read_latest`, strictly, and returns its progress.

    Raises:
        UserError: no checkpoint can be read, or it is of another configuration or of other code of the method.
    """
    found, content = processes.from_main(lambda: read_latest(path, run_id))
    try:
        state.load_state_dict(content["state"], strict=True)
        optimizer.load_state_dict(content["optimizer"])
    except (RuntimeError, ValueError) as error:
        if is_out_of_memory(error):
            raise
        raise UserError(
            f"{found} does not fit the method, whose code has changed; delete {path.parent} to train this run again"
        ) from error
    if found != path and processes.is_main():
        if path.exists():  # else a kill came between renaming the last checkpoint and writing the next one
            epoch = content["progress"].epoch + 1
            log.warning("checkpoint %s cannot be read; the run resumes from the checkpoint before it, in epoch %d", path, epoch)
        rename(found, path)  # the damaged one must not become the checkpoint before the next one
    return content["progress"]


def read_checkpoint(path: Path, run_id: str) -> dict:
    """Reads and verifies a checkpoint, tensors on the CPU; unpickles only tensors and plain values.

    Raises:
        UserError: the file is damaged or belongs to another configuration.
    """
    advice = f"delete {path} to train this run from the start"
    try:
        data = read_bytes(path)
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            broken = archive.testzip()  # verifies the checksum of every member
        if broken is not None:
            raise zipfile.BadZipFile(broken)
        content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        found, _, _ = content["run_id"], content["state"], content["optimizer"]
        content["progress"] = convert(content["progress"], Progress)
    except Exception as error:  # a damaged archive or pickle can raise almost anything
        if is_out_of_memory(error):
            raise
        raise UserError(f"checkpoint {path} is damaged or of an older version; {advice}") from error
    if found != run_id:
        raise UserError(f"checkpoint {path} belongs to run {found}, not to {run_id}; {advice}")
    return content


def _save(content: dict[str, Any], file: IO[bytes]) -> None:
    """`torch.save`, which reports a failed write as a RuntimeError on the position in the file; raises the OSError instead."""
    try:
        torch.save(content, file)
    except RuntimeError as error:
        if isinstance(error.__context__, OSError):
            raise error.__context__ from None
        raise
