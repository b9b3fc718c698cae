"""Prefetching in a background thread: the CPU prepares the next batches while the GPU trains on the current one."""

from collections.abc import Iterator
from contextlib import suppress
from queue import Full, Queue
from threading import Event, Thread
from typing import TypeVar

import torch

T = TypeVar("T")
DEPTH = 2  # finished items in the queue
POLL_SECONDS = 0.1  # interval at which a full queue checks whether the consumer has closed the iterator


def prefetch(items: Iterator[T], device: torch.device, depth: int = DEPTH) -> Iterator[T]:
    """Yields `items` in order while a thread computes up to `depth` items ahead, on `device` if it is a GPU.

    Exceptions of the computation are raised here in order. Closing this iterator ends the thread after its current item.
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
            for item in items:
                enqueue(item, None)
                if closed.is_set():
                    return
            enqueue(None, StopIteration())
        except BaseException as error:
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
        thread.join()
