import numpy as np
import pytest
import torch

from data.loader import Batch
from data.views.spec import RandAugment
from methods import METHODS
from methods.bcl import strengths
from methods.losses import nt_xent
from methods.memory import SampleMemory
from tests.runs import small_config
from training.config import default_hparams
from training.loop import batches, start_epoch, step
from training.prepare import build_method, prepare


def _training(name, images, **recipe):
    training = prepare(small_config(name, **recipe), images, torch.device("cpu"))
    training.method.train()
    return training


def test_memory_and_strengths_are_the_references(golden):
    losses = torch.from_numpy(golden["bcl_losses"])
    memory = SampleMemory(losses.shape[1], round(float(golden["bcl_beta"]), 6)).double()  # stored in float32
    for epoch, values in enumerate(losses):
        memory.update(torch.arange(len(values)), values)
        assert np.abs(memory.all().numpy() - golden["bcl_shadow"][epoch]).max() < 1e-12
        assert np.abs(strengths(memory.all()).numpy() - golden["bcl_weight"][epoch]).max() < 1e-12


def test_strengths_equal_a_loop_written_from_the_formula():
    m = torch.rand(30, dtype=torch.float64).tolist()
    mean = sum(m) / 30
    std = (sum((x - mean) ** 2 for x in m) / 29) ** 0.5
    q = [(x - mean) / std for x in m]
    expected = [0.5 * (x / max(abs(y) for y in q)) + 0.5 for x in q]
    assert strengths(torch.tensor(m, dtype=torch.float64)).tolist() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("kind", ["normal", "skewed", "outlier"])
@pytest.mark.parametrize("seed", range(5))
def test_strengths_fill_their_range_on_one_side(kind, seed):
    torch.manual_seed(seed)
    losses = torch.randn(1000)
    losses = {"normal": losses, "skewed": losses.exp(), "outlier": torch.cat([losses, torch.tensor([1e4])])}[kind]
    M = strengths(losses)
    assert M.min() >= 0
    assert M.max() <= 1
    assert (2 * M - 1).abs().max().item() == pytest.approx(1, abs=1e-6)
    assert (M[losses.argsort()].diff() >= 0).all()
    if kind == "outlier":  # not rank-based: it moves all other strengths towards a half
        assert (M[:-1] - 0.5).abs().max() < 0.01


def test_equal_losses_have_strength_one_half():
    assert strengths(torch.full((9,), 3.0)).tolist() == [0.5] * 9


@pytest.mark.parametrize(
    ("name", "expected"), [("bcl", RandAugment(1, 10, 20, jittered=False)), ("bcl-d", RandAugment(2, 5, 25, jittered=True))]
)
def test_randaugment_is_the_references(name, expected):
    method = build_method(small_config(name), 100)
    assert len(method.views) == 2
    assert all(dict(role.changes) == {"randaugment": expected} for role in method.views)


@pytest.mark.parametrize("name", ["bcl", "bcl-d"])
def test_large_sets_have_no_least_magnitude(name):
    config = small_config(name, hparams=METHODS[name].overrides["imagenetlt"])
    (changes,) = {role.changes for role in build_method(config, 100).views}
    assert dict(changes) == {"randaugment": RandAugment(2, 0, 30, jittered=True)}
    assert default_hparams(name, "cifar10lt", "paper").momentum == 0.97


@pytest.mark.parametrize("name", ["bcl", "bcl-d"])
def test_every_image_is_stored_and_the_first_epoch_is_plain(name, photographs):
    training = _training(name, photographs, batch_size=60)  # the last batch has 16 images
    method, plain = training.method, _training("simclr", photographs, batch_size=60)
    start_epoch(training, 0)
    method.train()
    counts = []
    for number, (batch, same) in enumerate(zip(batches(training, 0), batches(plain, 0), strict=True)):
        assert method.view_strength(batch.index).tolist() == [0] * len(batch.index)
        assert all(torch.equal(a, b) for a, b in zip(batch.views, same.views, strict=True))
        counts.append(len(batch.index))
        step(training, batch, number)
    assert counts == [60, 60, 60, 60, 16]
    assert method.memory.seen[:-1].all()
    assert not method.strength.any()
    start_epoch(training, 1)
    M = method.view_strength(torch.arange(256))
    assert torch.equal(M, strengths(method.memory.all()))
    assert (2 * M - 1).abs().max().item() == pytest.approx(1, abs=1e-6)
    assert method.view_strength(torch.tensor([5, -1])).tolist() == [M[5], 0]


def test_strength_decides_about_its_own_image_alone(photographs):
    training, plain = _training("bcl", photographs), _training("simclr", photographs)
    training.method.strength[:-1] = (torch.arange(256) % 2).float()
    for batch, same in zip(batches(training, 1), batches(plain, 1), strict=True):
        for view, unchanged in zip(batch.views, same.views, strict=True):
            differs = (view != unchanged).flatten(1).any(dim=1)
            assert not differs[batch.index % 2 == 0].any()
            assert differs[batch.index % 2 == 1].float().mean() > 0.7  # some operations leave some images as they are


@pytest.mark.parametrize("name", ["bcl", "bcl-d"])
def test_the_memory_averages_the_hosts_losses_and_is_the_tail_score(name):
    method = build_method(small_config(name), 20).double().train()
    index, expected = torch.tensor([3, 17, 0, 5, 9, 11]), torch.zeros(6, dtype=torch.float64)
    for time in range(2):
        torch.manual_seed(time)
        views = torch.randn(6, 3, 16, 16, dtype=torch.float64), torch.randn(6, 3, 16, 16, dtype=torch.float64)
        with torch.no_grad():
            losses = nt_xent(*method.host.encode(views), 0.2)
        expected = 0.97 * expected + 0.03 * losses if time else losses
        output = method.loss(Batch(views, index))
        assert output.loss.item() == pytest.approx(losses.mean().item(), abs=1e-10)
        assert torch.allclose(method.memory[index], expected, atol=1e-10)
        assert torch.equal(output.scores, method.memory[index])
    assert method.memory.seen.sum() == 6


def test_an_unreadable_image_does_not_change_the_strengths_of_the_others():
    method = build_method(small_config("bcl"), 50)
    losses = 5.6 + 0.3 * torch.randn(49, generator=torch.Generator().manual_seed(0))
    method.memory.update(torch.arange(49), losses)
    method.on_epoch_start(1, None)
    assert torch.equal(method.strength, torch.cat([strengths(losses), torch.zeros(2)]))
