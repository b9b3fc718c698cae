import math
from collections import deque

import pytest
import torch
from torch.nn import functional as F

from data.benchmark import BENCHMARKS
from methods.queue import Queue
from training.config import default_hparams


def _rows(queue: Queue) -> list[list[float]]:
    """From the oldest to the newest."""
    return queue.vectors.roll(-int(queue.start), dims=0).tolist()


@pytest.mark.parametrize("sizes", [[3, 3, 3], [4, 3, 4, 2], [7, 7], [8, 1], [20, 5, 16], [1] * 10])
def test_it_is_a_deque_of_the_last_unit_vectors(sizes):
    """Also where a batch ends behind the last place, and where it is larger than the queue."""
    stream = torch.Generator().manual_seed(0)
    queue = Queue(7, 3, samples=100).double()
    expected = deque(queue.vectors.tolist(), maxlen=7)
    for size in sizes:
        z = torch.randn(size, 3, generator=stream, dtype=torch.float64)
        queue.push(z)
        expected.extend((row / row.norm()).tolist() for row in z)
        assert _rows(queue) == [pytest.approx(row, abs=1e-15) for row in expected]


def test_at_first_it_holds_random_directions_for_at_most_half_of_the_images():
    torch.manual_seed(0)
    for size, samples, expected in ((10, 100, 10), (60, 100, 50), (5, 3, 1), (5, 1, 1)):
        vectors = Queue(size, 8, samples).vectors
        assert vectors.shape == (expected, 8)
        assert torch.allclose(vectors.norm(dim=1), torch.ones(expected))


def test_nearest_is_that_of_a_loop():
    torch.manual_seed(0)
    queue, z = Queue(9, 4, samples=100).double(), torch.randn(6, 4, dtype=torch.float64)
    for found, anchor in zip(queue.nearest(z), z, strict=True):
        best = max(queue.vectors, key=lambda row: float(F.cosine_similarity(row, anchor, dim=0)))
        assert torch.equal(found, best)


def test_later_pushes_change_neither_a_result_nor_a_gradient():
    torch.manual_seed(0)
    queue, z = Queue(4, 3, samples=100), torch.randn(4, 3, requires_grad=True)
    near = queue.nearest(z)
    before = near.clone()
    queue.push(5 * z)
    assert torch.equal(near, before)
    assert not queue.vectors.requires_grad
    assert not near.requires_grad


def test_it_stays_in_float32_under_autocast():
    queue, z = Queue(4, 3, samples=100), torch.eye(3, dtype=torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        queue.push(z)
        assert torch.equal(queue.nearest(z), torch.eye(3))
    assert queue.vectors.dtype == torch.float32


def test_it_is_saved_and_restored():
    queue, other = Queue(5, 3, samples=100), Queue(5, 3, samples=100)
    queue.push(torch.randn(3, 3))
    other.load_state_dict(queue.state_dict())
    z = torch.randn(4, 3)
    for both in (queue, other):
        both.push(z)
    assert torch.equal(queue.vectors, other.vectors)
    assert torch.equal(queue.start, other.start)


@pytest.mark.parametrize("method", ["mocov2", "nnclr"])
@pytest.mark.parametrize(
    ("dataset", "images"),
    [
        *((name, None) for name in ("cifar10lt", "cifar100lt")),
        *(("imagenet100lt", 12_205), ("imagenetlt", 115_846), ("placeslt", 62_500), ("inat18", 437_513)),
    ],
)
def test_sizes_are_the_largest_power_of_two_in_half_of_the_images(method, dataset, images):
    benchmark = BENCHMARKS[dataset]
    images = images or benchmark.size(benchmark().profile(None))
    assert default_hparams(method, dataset, "paper").queue == min(65_536, 2 ** int(math.log2(images / 2)))
