"""Work done ahead in a thread of its own, so that a processor makes the next batch while a device trains on this one."""

from collections.abc import Iterator
from contextlib import suppress
from queue import Full, Queue
from threading import Event, Thread
from typing import TypeVar

import torch

T = TypeVar("T")
DEPTH = 2  # finished items that may wait
PATIENCE = 0.1  # seconds between looks at whether anybody still wants an item


def ahead(items: Iterator[T], device: torch.device, depth: int = DEPTH) -> Iterator[T]:
    """Yields `items` in their order while a thread computes up to `depth` more of them, on `device` where it is a GPU.

    What the computation raises is raised here, at its place. When this iterator is closed the thread ends with its item.
    """
    index = None
    if device.type == "cuda":
        index = torch.cuda.current_device() if device.index is None else device.index
    finished: Queue[tuple[T | None, BaseException | None]] = Queue(depth)
    closed = Event()

    def hand_over(item: T | None, error: BaseException | None) -> None:
        while not closed.is_set():
            with suppress(Full):
                return finished.put((item, error), timeout=PATIENCE)

    def work() -> None:
        try:
            if index is not None:
                torch.cuda.set_device(index)  # holds for this thread
            for item in items:
                hand_over(item, None)
                if closed.is_set():
                    return
            hand_over(None, StopIteration())
        except BaseException as error:
            hand_over(None, error)

    thread = Thread(target=work, name="views ahead", daemon=True)
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
