import os
import subprocess
import sys

import pytest
import torch

from methods.memory import SampleMemory, gather_rows
from tests.conftest import ROOT

# one of two processes: enters its share of each batch, and saves what it remembers
PROCESS = """
import sys, torch
from methods.memory import SampleMemory, gather_rows
rank, store, batches, out = int(sys.argv[1]), *sys.argv[2:]
torch.set_num_threads(1)
torch.distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
memory = SampleMemory(12, 0.9)
for parts in torch.load(batches):
    memory.update(*parts[rank])
torch.save({**memory.state_dict(), "rows": gather_rows(torch.full((rank + 1, 2), float(rank)))}, out)
torch.distributed.destroy_process_group()
"""


def test_the_average_is_a_loop_of_its_rule():
    memory, stream = SampleMemory(6, 0.97).double(), torch.Generator().manual_seed(0)
    expected: dict[int, float] = {}
    for _ in range(20):
        index = torch.randperm(6, generator=stream)[:3]
        values = torch.randn(3, generator=stream, dtype=torch.float64)
        memory.update(index, values)
        for i, value in zip(index.tolist(), values.tolist(), strict=True):
            expected[i] = value if i not in expected else 0.97 * expected[i] + 0.03 * value
    assert memory.all().tolist() == pytest.approx([expected[i] for i in range(6)], abs=1e-12)


def test_only_images_that_were_seen_have_a_value():
    memory = SampleMemory(5, 0.5)
    memory.update(torch.tensor([3, 0]), torch.tensor([0.0, 2.0]))
    assert memory.seen.tolist() == [True, False, False, True, False, False]
    memory.update(torch.tensor([3, 1]), torch.tensor([4.0, 4.0]))
    assert memory.all().tolist() == [2, 4, 0, 2, 0]  # the zero of image 3 was a value, that of image 1 was none
    assert memory[torch.tensor([1, 4, -1])].tolist() == [4, 0, 0]


def test_images_from_outside_leave_nothing():
    memory = SampleMemory(3, 0.5)
    memory.update(torch.tensor([-1, 2, -1]), torch.tensor([7.0, 1.0, 9.0]))
    assert memory.all().tolist() == [0, 0, 1]
    assert memory.seen.tolist() == [False, False, True, False]
    assert memory[torch.tensor([-1])].item() == 0
    memory.update(torch.tensor([-1]), torch.tensor([7.0]))
    assert memory[torch.tensor([-1])].item() == 0
    assert len(memory.all()) == 3


def test_momentum_0_keeps_the_last_value_and_no_gradient_is_kept():
    memory, values = SampleMemory(2), torch.tensor([1.0, 2.0], requires_grad=True)
    memory.update(torch.tensor([0, 1]), 3 * values)
    memory.update(torch.tensor([1]), values[:1])
    assert memory.all().tolist() == [3, 1]
    assert not memory.value.requires_grad


def test_it_is_saved_and_restored():
    memory, other = SampleMemory(4, 0.9), SampleMemory(4, 0.9)
    memory.update(torch.tensor([2, 3]), torch.tensor([1.0, 5.0]))
    other.load_state_dict(memory.state_dict())
    for both in (memory, other):
        both.update(torch.tensor([3, 0]), torch.tensor([-5.0, 2.0]))
    assert torch.equal(memory.value, other.value)
    assert other.all().tolist() == pytest.approx([2, 0, 1, 4])


def test_one_process_gathers_its_own_rows():
    x = torch.randn(3, 2)
    assert gather_rows(x) is x


def test_two_processes_hold_the_memory_of_one(tmp_path):
    stream = torch.Generator().manual_seed(0)
    alone, batches = SampleMemory(12, 0.9), []
    for first in (4, 5, 8, 0, 3):  # halves, uneven parts, and one process without any
        index = torch.randperm(12, generator=stream)[:8]
        index[torch.rand(8, generator=stream) < 0.2] = -1
        values = torch.randn(8, generator=stream)
        alone.update(index, values)
        batches.append([(index[:first], values[:first]), (index[first:], values[first:])])
    torch.save(batches, tmp_path / "batches")
    command = [sys.executable, "-W", "ignore", "-c", PROCESS]
    both = [
        subprocess.Popen(
            [*command, str(rank), tmp_path / "store", tmp_path / "batches", tmp_path / f"rank{rank}"],
            cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.PIPE, text=True,
        )
        for rank in (0, 1)
    ]  # fmt: skip
    try:
        errors = [process.communicate(timeout=120)[1] for process in both]
    finally:
        for process in both:
            process.kill()
    assert [process.returncode for process in both] == [0, 0], errors
    assert alone.seen[:-1].all()
    for rank in (0, 1):
        found = torch.load(tmp_path / f"rank{rank}")
        assert torch.equal(found["value"], alone.value)
        assert torch.equal(found["seen"], alone.seen)
        assert found["rows"].tolist() == [[0, 0], [1, 1], [1, 1]]
