"""One transfer to the device for all tensors of a step."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")
ALIGNMENT = 16  # bytes: a multiple of the size of every element type, and the width of vectorised loads


def upload(content: T, device: torch.device) -> T:
    """Moves all tensors on the CPU in `content` to a GPU in one asynchronous copy from pinned memory.

    A copy from other memory first waits for the driver's own pinned buffer, and each copy has a fixed cost.

    Args:
        content: a tensor, or nested tuples, lists and dataclasses of tensors; other values are kept.
        device: for the CPU, `content` is returned.

    Returns:
        The same structure; the tensors are contiguous and share one block of memory.
    """
    if device.type != "cuda":
        return content
    waiting = [x for x in _tensors(content) if x.device.type == "cpu"]
    if not waiting:
        return content
    starts = [0]
    for x in waiting:
        starts.append(starts[-1] + -(-x.nbytes // ALIGNMENT) * ALIGNMENT)
    # torch reuses pinned memory only when the copy from it has ended
    pinned = torch.empty(starts[-1], dtype=torch.uint8, pin_memory=True)
    for x, start in zip(waiting, starts, strict=False):
        _part(pinned, start, x).copy_(x)
    there = pinned.to(device, non_blocking=True)
    moved = (_part(there, start, x) for x, start in zip(waiting, starts, strict=False))
    return _with_tensors(content, (next(moved) if x.device.type == "cpu" else x for x in _tensors(content)))


def _part(block: Tensor, start: int, like: Tensor) -> Tensor:
    """The bytes of `block` from `start` on as a tensor of the type and shape of `like`."""
    return block[start : start + like.nbytes].view(like.dtype).view(like.shape)


def _tensors(content: Any) -> Iterator[Tensor]:
    if isinstance(content, Tensor):
        yield content
    else:
        for part in _children(content):
            yield from _tensors(part)


def _with_tensors(content: Any, tensors: Iterator[Tensor]) -> Any:
    """`content` with its tensors replaced, in the order of `_tensors`."""
    if isinstance(content, Tensor):
        return next(tensors)
    parts = [_with_tensors(part, tensors) for part in _children(content)]
    if isinstance(content, tuple | list):
        return type(content)(parts)
    if is_dataclass(content) and not isinstance(content, type):
        return replace(content, **dict(zip((field.name for field in fields(content)), parts, strict=True)))
    return content


def _children(content: Any) -> list[Any]:
    if isinstance(content, tuple | list):
        return list(content)
    if is_dataclass(content) and not isinstance(content, type):
        return [getattr(content, field.name) for field in fields(content)]
    return []
