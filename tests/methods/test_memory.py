import pytest
import torch

from methods.memory import SampleMemory


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


def test_ood_images_change_no_memory():
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


def test_vectors_and_a_momentum_of_the_call():
    memory, index = SampleMemory(4, 0.5, (2,)).double(), torch.tensor([2, -1, 0])
    values = torch.tensor([[1.0, 2.0], [9.0, 9.0], [3.0, 4.0]], dtype=torch.float64)
    memory.update(index, values)
    memory.update(index, -values, momentum=0.75)
    assert memory.all().tolist() == [[1.5, 2], [0, 0], [0.5, 1], [0, 0]]
    memory.update(index, torch.zeros_like(values))
    assert memory[index].tolist() == [[0.25, 0.5], [0, 0], [0.75, 1]]
    assert memory.seen.tolist() == [True, False, True, False, False]


def test_it_is_saved_and_restored():
    memory, other = SampleMemory(4, 0.9), SampleMemory(4, 0.9)
    memory.update(torch.tensor([2, 3]), torch.tensor([1.0, 5.0]))
    other.load_state_dict(memory.state_dict())
    for both in (memory, other):
        both.update(torch.tensor([3, 0]), torch.tensor([-5.0, 2.0]))
    assert torch.equal(memory.value, other.value)
    assert other.all().tolist() == pytest.approx([2, 0, 1, 4])


def test_images_without_a_value_have_the_mean_of_the_others():
    memory = SampleMemory(4)
    assert memory.all_or_mean().tolist() == [0, 0, 0, 0]
    memory.update(torch.tensor([0, 2]), torch.tensor([1.0, 4.0]))
    assert memory.all_or_mean().tolist() == [1, 2.5, 4, 2.5]
    memory.update(torch.tensor([1, 3]), torch.tensor([0.0, 8.0]))
    assert memory.all_or_mean().tolist() == [1, 0, 4, 8]
