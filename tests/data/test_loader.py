import torch

from data.loader import Loader, steps_per_epoch
from data.views.backend import Backend


class Echo(Backend):
    """A backend that records its arguments and returns the images as views."""

    def __init__(self):
        super().__init__(())
        self.calls = []

    def __call__(self, images, seed, size, strength=None, part=None):
        self.calls.append((seed, size, strength))
        return (images.float(), images.float())

    def render(self, images, drawn, size):
        raise NotImplementedError

    def evaluate(self, images, shown):
        raise NotImplementedError


def _images(count):
    return torch.arange(count, dtype=torch.uint8)[:, None, None, None].expand(count, 3, 2, 2)


def test_every_image_once_an_epoch_and_the_last_smaller_batch_too():
    loader = Loader(_images(25), Echo(), batch_size=8, seed=0)
    batches = list(loader.epoch(0, size=2))
    assert [len(batch.index) for batch in batches] == [8, 8, 8 + 1]  # a single left-over image joins the step before
    assert sorted(torch.cat([batch.index for batch in batches]).tolist()) == list(range(25))
    assert all((batch.views[0][:, 0, 0, 0] == batch.index).all() for batch in batches)
    assert [steps_per_epoch(n, 8) for n in (8, 9, 10, 16, 23, 25, 26)] == [1, 1, 2, 2, 3, 3, 4]
    assert [steps_per_epoch(n, 8) for n in (2, 7)] == [1, 1]


def test_an_epoch_entered_in_the_middle_goes_on_as_if_from_its_start():
    whole, rest = Loader(_images(30), Echo(), 8, seed=3), Loader(_images(30), Echo(), 8, seed=3)
    full = list(whole.epoch(5, size=2))
    late = list(rest.epoch(5, size=2, start=2))
    assert [batch.index.tolist() for batch in late] == [batch.index.tolist() for batch in full[2:]]
    assert rest.backend.calls == whole.backend.calls[2:]


def test_orders_and_seeds_differ_by_epoch_and_by_run():
    first = Loader(_images(30), Echo(), 8, seed=0)
    orders = [torch.cat([b.index for b in first.epoch(e, size=2)]).tolist() for e in (0, 1)]
    other = Loader(_images(30), Echo(), 8, seed=1)
    orders.append(torch.cat([b.index for b in other.epoch(0, size=2)]).tolist())
    assert len({tuple(order) for order in orders}) == 3
    seeds = [seed for seed, _, _ in first.backend.calls + other.backend.calls]
    assert len(set(seeds)) == len(seeds)


def test_strengths_of_the_batch_reach_the_backend():
    loader = Loader(_images(20), Echo(), 8, seed=0)
    batches = list(loader.epoch(0, size=2, strength=lambda index: index / 20))
    for batch, (_, _, strength) in zip(batches, loader.backend.calls, strict=True):
        assert torch.equal(strength, batch.index / 20)


def test_further_images_are_mixed_in_and_have_no_place_in_the_set():
    extra = _images(40)[30:]  # grey levels 30 to 39 tell them from the set's 0 to 24
    loader = Loader(_images(25), Echo(), batch_size=8, seed=0)
    batches = list(loader.epoch(2, size=2, strength=lambda index: (index >= 0).float(), extra=extra))
    assert [len(batch.index) for batch in batches] == [8, 8, 8, 8, 3]
    assert loader.steps(10) == steps_per_epoch(35, 8) == len(batches)
    assert loader.steps() == 3
    index, grey = (torch.cat(parts) for parts in zip(*((b.index, b.views[0][:, 0, 0, 0]) for b in batches), strict=True))
    assert (index == -1).sum() == 10
    assert sorted(grey.tolist()) == [*range(25), *range(30, 40)]
    assert torch.equal(index, torch.where(grey < 30, grey, -1).long())
    assert len({(batch.index < 0).sum().item() for batch in batches}) > 1  # shuffled, not dealt out
    assert all(batch.epoch == 2 for batch in batches)
    for batch, (_, _, strength) in zip(batches, loader.backend.calls, strict=True):
        assert torch.equal(strength, (batch.index >= 0).float())  # strengths are asked for with the -1 too


def test_an_epoch_with_further_images_can_be_entered_in_the_middle():
    whole, rest = Loader(_images(25), Echo(), 8, seed=3), Loader(_images(25), Echo(), 8, seed=3)
    full = list(whole.epoch(1, size=2, extra=_images(40)[30:]))
    late = list(rest.epoch(1, size=2, start=3, extra=_images(40)[30:]))
    assert [batch.index.tolist() for batch in late] == [batch.index.tolist() for batch in full[3:]]
    assert all(torch.equal(a.views[0], b.views[0]) for a, b in zip(late, full[3:], strict=True))
    assert rest.backend.calls == whole.backend.calls[3:]


def test_a_single_image_left_over_by_further_ones_joins_the_step_before():
    batches = list(Loader(_images(12), Echo(), 8, seed=0).epoch(0, size=2, extra=_images(5)))
    assert [len(batch.index) for batch in batches] == [8, 9]
