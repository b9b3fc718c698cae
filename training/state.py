"""The state of a run: all tensors that a checkpoint stores, and what a method keeps outside of them."""

import io
import pickle
from typing import Any

import torch
from torch import Tensor, nn

from training.prepare import Training


def state_tensors(training: Training) -> dict[str, Tensor]:
    """All tensors that a checkpoint stores, by name, on the CPU: method, tail scores, then the optimiser's by parameter."""
    found = {name: value for name, value in training.state.state_dict().items() if isinstance(value, Tensor)}
    for name, parameter in training.method.named_parameters():
        for key, value in training.optimizer.state.get(parameter, {}).items():
            found[f"optimizer.{key}.{name}"] = torch.as_tensor(value)
    return {name: value.detach().cpu().contiguous().clone() for name, value in found.items()}


def unsaved_state(method: nn.Module) -> dict[str, bytes]:
    """Content of the attributes of a method and its modules that are not in its state dict, by name and type."""
    usual = set(vars(nn.Module()))
    found = {}
    for path, module in method.named_modules():
        prefix = f"{path}." if path else ""
        for name in sorted(module._non_persistent_buffers_set):
            found[f"{prefix}{name} (buffer with persistent=False)"] = _content(module._buffers[name])
        for name, value in vars(module).items():
            if name not in usual and not isinstance(value, nn.Module):
                found[f"{prefix}{name} ({type(value).__name__})"] = _content(value)
    return found


def _content(value: Any) -> bytes:
    """The same bytes for the same content; none for what cannot be pickled."""
    file = io.BytesIO()
    try:
        _ContentPickler(file).dump(value)
    except Exception:  # pickling calls code of the object
        return b""
    return file.getvalue()


class _ContentPickler(pickle.Pickler):
    """Pickles tensors by their values alone, and modules, whose attributes are visited apart, by their type."""

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, nn.Module):
            return str, (type(value).__name__,)
        if isinstance(value, Tensor):
            plain = value.detach().cpu()
            bits = plain.reshape(-1).view(torch.uint8).numpy().tobytes()
            return bytes, (f"{plain.dtype} {tuple(plain.shape)} ".encode() + bits,)
        return NotImplemented
