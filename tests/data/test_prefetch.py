import threading
import time

import pytest
import torch

from data.prefetch import prefetch

CPU = torch.device("cpu")


def _alive():
    return sum(thread.name == "prefetch" for thread in threading.enumerate())


def test_items_come_in_order_and_are_made_ahead():
    made = []

    def items():
        for k in range(6):
            made.append(k)
            yield k

    stream = prefetch(items(), CPU, depth=2)
    assert next(stream) == 0
    deadline = time.monotonic() + 5
    while len(made) < 4 and time.monotonic() < deadline:  # one given, two waiting, one in hand
        time.sleep(0.01)
    time.sleep(0.05)
    assert made == [0, 1, 2, 3]
    assert list(stream) == [1, 2, 3, 4, 5]
    assert not _alive()


def test_an_error_is_raised_at_its_place():
    def items():
        yield 1
        raise OSError("disk")

    stream = prefetch(items(), CPU)
    assert next(stream) == 1
    with pytest.raises(OSError, match="disk"):
        next(stream)
    assert not _alive()


def test_closing_the_iterator_ends_the_thread():
    stream = prefetch(iter(range(1000)), CPU)
    assert next(stream) == 0
    assert _alive() == 1
    stream.close()
    assert not _alive()


@pytest.mark.parametrize(("device", "index"), [("cuda", 3), ("cuda:1", 1)])
def test_the_thread_works_on_the_gpu_of_its_caller(device, index, monkeypatch):
    chosen = []
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 3)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    assert list(prefetch(iter("ab"), torch.device(device))) == ["a", "b"]
    assert chosen == [index]
