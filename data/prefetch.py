"""Overlap of the CPU and a GPU: a thread prepares the next batches, and results are copied back, while the GPU computes."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from queue import Full, Queue
from threading import Event, Thread
from typing import TypeVar

import torch
from torch import Tensor, distributed

T = TypeVar("T")
DEPTH = 2  # finished items in the queue
JOIN_SECONDS = 10.0  # longest wait for the thread of another process
POLL_SECONDS = 0.1  # interval at which a full queue checks whether the consumer has closed the iterator


def prefetch(
    items: Iterator[T], device: torch.device, depth: int = DEPTH, ends: Callable[[bool], bool] | None = None
) -> Iterator[T]:
    """Yields `items` in order while a thread computes up to `depth` items ahead, on `device` if it is a GPU.

    Exceptions of the computation are raised here in order. Closing this iterator ends the thread after its current item.

    Args:
        items: what the thread computes.
        device: of the items.
        depth: finished items in the queue.
        ends: for items that are computed by collectives; called in the thread before each item with whether this iterator is
            closed, returns whether the thread ends, in all processes the same: one that computes another item would wait for
            those that have ended. If the others do not close theirs, as this process alone has failed, closing does not wait
            for the thread for longer than `JOIN_SECONDS`.

    Raises:
        DistError: the thread has ended because the iterator of another process is closed.
    """
    index = None
    if device.type == "cuda":
        index = torch.cuda.current_device() if device.index is None else device.index
    finished: Queue[tuple[T | None, BaseException | None]] = Queue(depth)
    closed = Event()

    def enqueue(item: T | None, error: BaseException | None) -> None:
        while not closed.is_set():
            with suppress(Full):
                return finished.put((item, error), timeout=POLL_SECONDS)

    def work() -> None:
        try:
            if index is not None:
                torch.cuda.set_device(index)  # per thread
            while not (closed.is_set() if ends is None else ends(closed.is_set())):
                enqueue(next(items), None)
            enqueue(None, distributed.DistError("another process has closed its iterator"))
        except BaseException as error:  # StopIteration too
            enqueue(None, error)

    thread = Thread(target=work, name="prefetch", daemon=True)
    thread.start()
    try:
        while True:
            item, error = finished.get()
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield item  # type: ignore[misc]
    finally:
        closed.set()
        thread.join(None if ends is None else JOIN_SECONDS)


def to_cpu(items: Iterator[Tensor]) -> Iterator[Tensor]:
    """Yields tensors on the CPU in order; those on a GPU one item late, copied to pinned memory while the next is computed."""
    copying: tuple[Tensor, torch.cuda.Event] | None = None
    for x in items:
        if x.device.type != "cuda":
            yield x
            continue
        # torch keeps pinned memory for the next items: two or three blocks in turns
        copy = torch.empty(x.shape, dtype=x.dtype, pin_memory=True).copy_(x, non_blocking=True)
        copied = torch.cuda.Event()
        copied.record(torch.cuda.current_stream(x.device))  # the current device may be another one
        if copying is not None:
            yield _copied(*copying)
        copying = copy, copied
    if copying is not None:
        yield _copied(*copying)


def _copied(copy: Tensor, copied: torch.cuda.Event) -> Tensor:
    copied.synchronize()
    return copy
