"""Writes checkpoints in a thread, from a copy of the state, while training goes on.

The copy takes the time of a memory copy; serialisation and disk take the thread's. One checkpoint is written at a time. A
process that is killed loses at most the checkpoint that is being written; the one before it is complete.
"""

import copy
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from training.checkpoint import Progress, write_checkpoint
from training.device import synchronize


class CheckpointWriter:
    """Context that writes the checkpoints of one run; at its end the last checkpoint is complete.

    Args:
        path: file of the checkpoint.
        run_id: of the run.
        state: modules to store.
        optimizer: to store.
        device: of the state.
    """

    def __init__(self, path: Path, run_id: str, state: nn.Module, optimizer: torch.optim.Optimizer, device: torch.device):
        self._path, self._run_id, self._state, self._optimizer, self._device = path, run_id, state, optimizer, device
        self._thread = ThreadPoolExecutor(1, "checkpoint")
        self._writing: Future[None] | None = None
        self._buffers: dict[tuple, Tensor] = {}  # memory of the copy, which all checkpoints share, by place in the content

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._thread.shutdown()
        if kind is None:
            self.wait()

    def ready(self) -> bool:
        """Whether no checkpoint is being written. Raises UserError if the last one could not be written."""
        if self._writing is not None and self._writing.done():
            self.wait()
        return self._writing is None

    def wait(self) -> None:
        """Waits until the last checkpoint is complete. Raises UserError if it could not be written."""
        if self._writing is not None:
            writing, self._writing = self._writing, None
            writing.result()

    def save(self, progress: Progress) -> None:
        """Copies the state and starts to write it, after the last checkpoint is complete.

        Raises:
            UserError: the last checkpoint could not be written.
        """
        self.wait()
        content = {
            "run_id": self._run_id,
            "state": self._copied(self._state.state_dict(), ("state",)),
            "optimizer": self._copied(self._optimizer.state_dict(), ("optimizer",)),
            "progress": asdict(progress),
        }
        synchronize(self._device)  # copies from a GPU are asynchronous
        self._writing = self._thread.submit(write_checkpoint, self._path, content)

    def _copied(self, value: Any, place: tuple) -> Any:
        """Copies a state dict, at a place in the content: tensors into buffers on the CPU, with the same strides."""
        if isinstance(value, Tensor):
            buffer = self._buffers.get(place)
            if buffer is None or (buffer.shape, buffer.stride(), buffer.dtype) != (value.shape, value.stride(), value.dtype):
                buffer = self._buffers[place] = torch.empty_like(value, device="cpu", pin_memory=value.is_cuda)
            return buffer.copy_(value, non_blocking=True)
        if isinstance(value, dict):
            copied = copy.copy(value)  # with the attribute `_metadata` of a module's state dict
            copied.update({key: self._copied(item, (*place, key)) for key, item in value.items()})
            return copied
        if isinstance(value, list):
            return [self._copied(item, (*place, number)) for number, item in enumerate(value)]
        return value
