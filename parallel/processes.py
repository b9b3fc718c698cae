"""Collectives of the processes of one run. Without a process group, all functions are those of a single process.

Every process trains the same weights. A batch is divided into contiguous rows (`own_rows`), and `gather_rows` puts results
together in the original order. The main process, of rank 0, decides and writes; `from_main` passes its decisions on.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from itertools import groupby
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, distributed

from core.errors import FailedInMain, ProcessEnded

T = TypeVar("T")
IN_ALL = "in_all_processes"  # attribute of errors
BUCKET_BYTES = 25 << 20  # of gradients per all-reduce, as in torch's DistributedDataParallel


def count() -> int:
    """Number of processes."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def from_environment(variable: str, default: int) -> int:
    """Value of a variable that torchrun sets. Raises ProcessEnded if it is not a number."""
    text = os.environ.get(variable, str(default))
    if not text.isdecimal():
        raise ProcessEnded(f"the environment variable {variable} is {text!r}, not a number; correct or unset it")
    return int(text)


def local_count() -> int:
    """Number of processes of torchrun on this machine, which share its CPU cores; 1 without torchrun."""
    return from_environment("LOCAL_WORLD_SIZE", 1)


def rank() -> int:
    """Rank of this process, from 0."""
    return distributed.get_rank() if count() > 1 else 0


def is_main() -> bool:
    """Whether this process writes files and displays progress."""
    return rank() == 0


def rows_of_all(total: int) -> list[int]:
    """Rows of each process if `total` rows are divided among them: equal, or one more in the first processes."""
    whole, rest = divmod(total, count())
    return [whole + (number < rest) for number in range(count())]


def own_rows(total: int) -> slice:
    """The rows of this process, if `total` rows are divided among all processes."""
    shares = rows_of_all(total)
    start = sum(shares[: rank()])
    return slice(start, start + shares[rank()])


def gather_rows(x: Tensor, rows: Sequence[int]) -> Tensor:
    """Concatenates the rows of all processes, without gradient.

    Args:
        x: (B, ...) rows of this process; B is `rows[rank()]`.
        rows: number of rows of each process.

    Returns:
        (sum of rows, ...) in the order of the ranks.
    """
    if count() == 1:
        return x
    padded = torch.cat([x, x.new_zeros(max(rows) - len(x), *x.shape[1:])])
    parts = [torch.empty_like(padded) for _ in rows]
    distributed.all_gather(parts, padded)
    return torch.cat([part[:size] for part, size in zip(parts, rows, strict=True)])


def in_turns(own: Iterator[Tensor], rows: Sequence[int]) -> Iterator[Tensor]:
    """Yields the tensors that the processes compute in turns, in all processes.

    Args:
        own: tensors number rank(), rank() + count(), ... of this process.
        rows: number of rows of each tensor.

    Raises:
        Exception: that of the computation in any process.
    """
    if count() == 1:
        yield from own
        return
    for start in range(0, len(rows), count()):
        sizes = [*rows[start : start + count()], *[0] * count()][: count()]
        x: Tensor | None = None
        error: Exception | None = None
        if sizes[rank()]:
            try:
                x = next(own)
            except Exception as raised:
                error = raised
        found = from_all((error, None if x is None else (x.shape[1:], x.dtype, x.device.type)))
        for other, _ in found:
            if other is not None:
                raise other
        shape, dtype, device = next(form for _, form in found if form is not None)
        if x is None:
            x = torch.empty(0, *shape, dtype=dtype, device=device)
        yield from gather_rows(x, sizes).split([size for size in sizes if size])


def sum_gradients(parameters: Iterable[torch.nn.Parameter]) -> None:
    """Sums the gradients over all processes. The same parameters must have one in all processes."""
    if count() == 1:
        return
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    for _, same_type in groupby(sorted(gradients, key=lambda g: str(g.dtype)), key=lambda g: g.dtype):
        for bucket in _buckets(same_type):
            flat = torch.cat([gradient.reshape(-1) for gradient in bucket])
            distributed.all_reduce(flat)
            for gradient, part in zip(bucket, flat.split([gradient.numel() for gradient in bucket]), strict=True):
                gradient.copy_(part.view_as(gradient))


def _buckets(tensors: Iterable[Tensor]) -> list[list[Tensor]]:
    """Consecutive tensors of together at least `BUCKET_BYTES`, the last ones aside."""
    buckets: list[list[Tensor]] = [[]]
    size = 0
    for tensor in tensors:
        buckets[-1].append(tensor)
        size += tensor.nbytes
        if size >= BUCKET_BYTES:
            buckets.append([])
            size = 0
    return [bucket for bucket in buckets if bucket]


def copy_from_main(tensors: Iterable[Tensor]) -> None:
    """Overwrites tensors by those of the main process."""
    if count() > 1:
        for tensor in tensors:
            distributed.broadcast(tensor, src=0)


def from_main(compute: Callable[[], T]) -> T:
    """The value of `compute` in the main process, in all processes; the others do not call it. Picklable.

    If it raises an error, the main process raises this error and the others raise FailedInMain; see `in_all`.
    """
    if count() == 1:
        return compute()
    if not is_main():
        failed, value = _broadcast(None)
        if failed:
            raise FailedInMain
        return value
    try:
        value = compute()
    except Exception as error:
        error.__dict__[IN_ALL] = True
        _broadcast((True, None))
        raise
    return _broadcast((False, value))[1]


def in_all(error: Exception) -> bool:
    """Whether an error was raised by `from_main`, and therefore in all processes."""
    return isinstance(error, FailedInMain) or IN_ALL in error.__dict__


def lost_another(error: Exception) -> bool:
    """Whether an error is that of a collective, as it is raised if another process ends."""
    return isinstance(error, distributed.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error))


def _broadcast(content: Any) -> Any:
    box = [content]
    distributed.broadcast_object_list(box, src=0, device=torch.device("cpu"))
    return box[0]


def from_all(value: T) -> list[T]:
    """The values of all processes by rank, in all processes. Picklable.

    It has a process group of its own, so that the thread of a data loader can call it while the main thread trains.
    """
    if count() == 1:
        return [value]
    values: list[T | None] = [None] * count()
    distributed.all_gather_object(values, value, group=_loader_group())
    return cast(list[T], values)


@cache
def _loader_group() -> Any:
    return distributed.new_group(backend="gloo")
