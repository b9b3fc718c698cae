"""Checkpoints, from which a run resumes bit-identically.

Crash safety: a checkpoint is written to a temporary file, flushed to disk with fsync and renamed over the previous one, so that
a complete checkpoint exists at any time. Every random stream is a function of (seed, epoch, step), so no generator is saved.
"""

import io
import zipfile
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import nn

from core.errors import UserError
from core.files import write_atomic


@dataclass
class Progress:
    """Progress of a run."""

    epoch: int = 0  # current epoch, from 0
    step: int = 0  # completed steps of the current epoch
    seconds: float = 0.0  # training time, summed over resumed processes
    images: int = 0  # source images seen
    epoch_loss: float = 0.0  # sum of per-image losses in the current epoch
    epoch_images: int = 0  # images seen in the current epoch
    unreadable: list[str] = field(default_factory=list)  # names of image files that were skipped


def save_checkpoint(path: Path, run_id: str, state: nn.Module, optimizer: torch.optim.Optimizer, progress: Progress) -> None:
    """Writes a checkpoint atomically. Raises UserError if the disk is full or the folder is not writable."""
    content = {
        "run_id": run_id,
        "state": state.state_dict(),
        "optimizer": optimizer.state_dict(),
        "progress": asdict(progress),
    }
    buffer = io.BytesIO()  # torch's own writer hides disk errors
    torch.save(content, buffer)
    write_atomic(path, lambda file: file.write(buffer.getbuffer()))


def load_checkpoint(path: Path, run_id: str, state: nn.Module, optimizer: torch.optim.Optimizer) -> Progress:
    """Restores the state and the optimiser of a run, strictly, and returns its progress.

    Raises:
        UserError: the file is damaged or belongs to another configuration.
    """
    content = read_checkpoint(path, run_id)
    state.load_state_dict(content["state"], strict=True)
    optimizer.load_state_dict(content["optimizer"])
    return Progress(**content["progress"])


def read_checkpoint(path: Path, run_id: str) -> dict:
    """Reads and verifies a checkpoint, tensors on the CPU; unpickles only tensors and plain values.

    Raises:
        UserError: as `load_checkpoint`.
    """
    advice = f"delete {path} to train this run from the start"
    try:
        data = path.read_bytes()
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            broken = archive.testzip()  # verifies the checksum of every member
        if broken is not None:
            raise zipfile.BadZipFile(broken)
        content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        found, _ = content["run_id"], content["state"]
    except Exception as error:  # a damaged archive or pickle can raise almost anything
        raise UserError(f"checkpoint {path} is damaged or of an older version; {advice}") from error
    if found != run_id:
        raise UserError(f"checkpoint {path} belongs to run {found}, not to {run_id}; {advice}")
    return content
