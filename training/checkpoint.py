"""Checkpoints: everything a run needs to go on as if it had never stopped.

Crash safety: a checkpoint is written to a temporary file, forced to disk and renamed over the last one, so that at every
moment one whole checkpoint is there. Every random stream is a function of (seed, epoch, step), so no generator is saved.
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
    """Where a run is."""

    epoch: int = 0  # the epoch under way, from 0
    step: int = 0  # steps of it that are done
    seconds: float = 0.0  # spent training so far, over all sittings
    images: int = 0  # source images seen so far
    epoch_loss: float = 0.0  # sum over this epoch's images of their losses
    epoch_images: int = 0
    unreadable: list[str] = field(default_factory=list)  # names of pictures that were left out so far


def save_checkpoint(path: Path, run_id: str, state: nn.Module, optimizer: torch.optim.Optimizer, progress: Progress) -> None:
    """Writes a checkpoint atomically. Raises UserError when the disk is full or the folder cannot be written."""
    content = {
        "run_id": run_id,
        "state": state.state_dict(),
        "optimizer": optimizer.state_dict(),
        "progress": asdict(progress),
    }
    buffer = io.BytesIO()  # torch's own writer hides what is wrong with a disk
    torch.save(content, buffer)
    write_atomic(path, lambda file: file.write(buffer.getbuffer()))


def load_checkpoint(path: Path, run_id: str, state: nn.Module, optimizer: torch.optim.Optimizer) -> Progress:
    """Restores a run's state and its optimiser, strictly, and returns where the run was.

    Raises:
        UserError: the file is damaged, or belongs to another configuration.
    """
    content = read_checkpoint(path, run_id)
    state.load_state_dict(content["state"], strict=True)
    optimizer.load_state_dict(content["optimizer"])
    return Progress(**content["progress"])


def read_checkpoint(path: Path, run_id: str) -> dict:
    """Reads and checks a checkpoint, tensors on the CPU; nothing but tensors and plain values is unpickled.

    Raises:
        UserError: as `load_checkpoint`.
    """
    advice = f"delete {path} to train this run from the start"
    try:
        data = path.read_bytes()
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            broken = archive.testzip()  # compares the checksum of every part
        if broken is not None:
            raise zipfile.BadZipFile(broken)
        content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        found, _ = content["run_id"], content["state"]
    except Exception as error:  # a damaged archive or pickle can raise almost anything
        raise UserError(f"checkpoint {path} is damaged or of an older version; {advice}") from error
    if found != run_id:
        raise UserError(f"checkpoint {path} belongs to run {found}, not to {run_id}; {advice}")
    return content
