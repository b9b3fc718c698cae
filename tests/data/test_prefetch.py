import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from data.prefetch import prefetch, to_cpu
from tests.fake_cuda import fake_cuda

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


class Processes:
    """Two processes as threads: a collective waits for both."""

    def __init__(self):
        self.barrier, self.values = threading.Barrier(2, timeout=10), [False, False]

    def from_all(self, rank, value):
        self.values[rank] = value
        self.barrier.wait()
        found = list(self.values)
        self.barrier.wait()
        return found

    def stream(self, rank, count):
        def items():
            for k in range(count):
                self.from_all(rank, k)
                yield k

        return prefetch(items(), CPU, ends=lambda closed: any(self.from_all(rank, closed)))

    def run(self, *consumers):
        """Results or errors of each process."""

        def consume(rank):
            try:
                return consumers[rank](self.stream(rank, count=5))
            except Exception as error:
                return error

        with ThreadPoolExecutor(2) as pool:
            found = list(pool.map(consume, range(2)))
        assert not _alive()
        assert not self.barrier.broken
        return found


@pytest.mark.parametrize("late", [0, 1])
def test_processes_that_close_at_different_times_do_not_wait_for_each_other(late):
    def consumer(rank):
        def consume(stream):
            first = next(stream)
            time.sleep(0.2 * (rank == late))
            stream.close()
            return first

        return consume

    assert Processes().run(consumer(0), consumer(1)) == [0, 0]


def test_a_process_whose_peer_has_closed_gets_an_error_after_the_common_items():
    given = []

    def close(stream):
        next(stream)
        stream.close()

    _, error = Processes().run(close, lambda stream: [given.append(item) for item in stream])
    assert isinstance(error, torch.distributed.DistError)
    assert given == list(range(len(given)))
    assert 1 <= len(given) < 5


def test_closing_does_not_wait_for_a_process_that_never_closes(monkeypatch):
    monkeypatch.setattr("data.prefetch.JOIN_SECONDS", 0.2)
    answered = threading.Event()

    def ends(closed):
        return closed and answered.wait(10)  # no other process answers

    stream = prefetch(iter(range(9)), CPU, ends=ends)
    assert next(stream) == 0
    stream.close()
    assert _alive() == 1
    answered.set()


def test_processes_that_use_all_items_end():
    assert Processes().run(list, list) == [list(range(5))] * 2


@pytest.mark.parametrize(("device", "index"), [("cuda", 3), ("cuda:1", 1)])
def test_the_thread_works_on_the_gpu_of_its_caller(device, index, monkeypatch):
    chosen = []
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 3)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    assert list(prefetch(iter("ab"), torch.device(device))) == ["a", "b"]
    assert chosen == [index]


def test_a_copy_from_the_gpu_is_waited_for_after_the_next_item_is_computed(monkeypatch):
    done = []
    with fake_cuda() as device:
        synchronize = torch.cuda.Event.synchronize
        monkeypatch.setattr(torch.cuda.Event, "synchronize", lambda event: done.append("wait") or synchronize(event))

        def items():
            for number in range(3):
                done.append(f"compute {number}")
                yield torch.full((4, number + 1), 1.0, device="cuda")

        with device.waits():
            for x in to_cpu(items()):
                done.append(f"use {x.shape[1] - 1}")
                assert x.device.type == "cpu"
    assert device.recorded == [torch.device("cuda", 0)] * 3  # that of the tensors, whatever the current device
    assert done == [
        "compute 0", "compute 1", "wait", "use 0", "compute 2", "wait", "use 1", "wait", "use 2"
    ]  # fmt: skip


def test_copies_stay_valid():
    with fake_cuda() as device, device.waits():
        copies = list(to_cpu(torch.empty(5, device="cuda") for _ in range(4)))
    assert len({copy.data_ptr() for copy in copies}) == 4


def test_items_on_the_cpu_are_passed_on_at_once():
    made = []

    def items():
        for number in range(3):
            made.append(torch.tensor(number))
            yield made[-1]

    for number, x in enumerate(to_cpu(items())):
        assert x is made[number]
        assert len(made) == number + 1
