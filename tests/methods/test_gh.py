import dataclasses

import pytest
import torch
from torch.nn import functional as F

from core.errors import UserError
from data.loader import Batch
from methods import METHODS
from methods.clusters import sinkhorn
from methods.gh import harmonization
from tests.pairs import difference_to_golden, embeddings
from tests.runs import small_config
from training.config import default_hparams
from training.loop import batches, start_epoch, step
from training.prepare import build_method, prepare

ALL = {"gh": "simclr", "focal+gh": "focal", "sdclr+gh": "sdclr", "bcl+gh": "bcl"}
N, B = 20, 8


def _method(name="gh", epochs=10, **hparams):
    return build_method(small_config(name, epochs=epochs, hparams={"directions": 6, **hparams}), N).double()


def _cosines(z1, z2, targets):
    return F.normalize(torch.stack([z1, z2]) @ targets.T, dim=2)


def test_labels_and_loss_equal_the_references(golden_losses):
    z = [golden_losses[key].clone().requires_grad_() for key in ("z1", "z2")]
    prior = golden_losses["gh_counts"] / golden_losses["gh_counts"].sum(dtype=torch.float64)
    cosines = _cosines(*z, golden_losses["gh_targets"])
    labels = sinkhorn(cosines / 0.05, prior, 300)
    assert not labels.requires_grad
    for view in range(2):
        assert (labels[view] - golden_losses[f"gh_labels{view + 1}"]).abs().max() < 1e-12
    assert difference_to_golden(golden_losses, "gh", harmonization(cosines, prior, 300), *z) < 1e-12


def test_targets_are_a_rotated_simplex():
    targets = _method(directions=100).targets
    cosines = targets @ targets.T
    assert (cosines - torch.full_like(cosines, -1 / 99).fill_diagonal_(1)).abs().max() < 1e-6
    assert (targets.abs() > 1e-9).all()  # all dimensions of the embedding are used


@pytest.mark.parametrize("name", ALL)
def test_in_the_warm_up_it_is_its_host(name):
    ours, host = _method(name, early_beta=0.5), build_method(small_config(ALL[name], epochs=10), N).double()
    views = torch.randn(2, B, 3, 16, 16, dtype=torch.float64)
    results = []
    for method in (ours, host):
        method.train()
        torch.manual_seed(0)
        loss = method.loss(Batch((views[0], views[1]), torch.arange(B), 4)).loss
        loss.backward()
        results.append((loss, [p.grad for p in method.parameters() if p.requires_grad]))
    (loss, found), (expected_loss, expected) = results
    assert torch.equal(loss, expected_loss)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize(("epoch", "share"), [(4, 0), (5, 0.25), (6, 0.5), (8, 1), (9, 1)])
def test_the_additional_loss_starts_after_the_warm_up_with_a_rising_weight(epoch, share):
    method, (z1, z2) = _method(ramp="4"), embeddings(B, 128)
    method.prior.copy_(torch.tensor([0.4, 0.3, 0.1, 0.1, 0.1, 0.0]))
    index = torch.tensor([4, -1, 2, 3, -1, 11, 6, 7])
    output = method.objective((z1, z2), index, epoch)
    cosines = _cosines(z1, z2, method.targets)
    expected = method.losses(method.pairs((z1, z2), index, epoch)).mean()
    expected = expected + share * harmonization(cosines, method.prior, 300).mean()
    assert output.loss.item() == pytest.approx(expected.item(), abs=1e-12)
    assert method.memory.seen.nonzero().flatten().tolist() == [2, 3, 4, 6, 7, 11]
    inside = index >= 0
    assert torch.equal(output.scores[inside], -method.prior[cosines[0].argmax(dim=1)][inside])


def test_averages_decay_slower_after_the_warm_up():
    method, index = _method(early_beta=0.5, beta=0.9), torch.arange(B)
    expected = None
    for epoch, beta in [(0, None), (4, 0.5), (5, 0.9), (9, 0.9)]:
        z = embeddings(B, 128, seed=epoch)
        method.objective(z, index, epoch)
        now = _cosines(*z, method.targets)[0].detach()
        expected = now if beta is None else beta * expected + (1 - beta) * now
        assert torch.allclose(method.memory[index], expected, atol=1e-12)


@pytest.mark.parametrize("smoothing", [0, 3])
def test_the_prior_is_the_histogram_of_the_images_directions(smoothing):
    method = _method(smoothing=smoothing, refresh="2")
    assert set(method.sample_state()["cluster"].tolist()) == {-1}
    direction = torch.arange(N) ** 2 % 5
    method.memory.update(torch.arange(N), F.one_hot(direction, 6).double())
    expected = [(direction.tolist().count(k) + smoothing) / (N + 6 * smoothing) for k in range(6)]
    for epoch in range(10):
        method.prior.fill_(1 / 6)
        method.on_epoch_start(epoch, None)
        assert method.prior.tolist() == pytest.approx(expected if epoch in (5, 7, 9) else [1 / 6] * 6)
    assert torch.equal(method.sample_state()["cluster"], direction)


def test_training_moves_the_batch_averages_towards_the_prior(photographs):
    """Without the contrastive loss's pull: after the warm-up, the predicted shares of a fixed batch approach the prior."""
    config = small_config("gh", epochs=40, hparams={"directions": 6, "warmup": "1", "ramp": "1"}, batch_size=64)
    training = prepare(config, photographs[:64], torch.device("cpu"))
    start_epoch(training, 0)
    method = training.method.train()
    batch = dataclasses.replace(next(iter(batches(training, 0))), epoch=5)
    method.prior.copy_(torch.tensor([0.4, 0.25, 0.15, 0.1, 0.06, 0.04]))
    distances = []
    for number in range(40):
        with torch.no_grad():
            cosines = _cosines(*method.encode(batch.views), method.targets)
        distances.append(((cosines / 0.1).softmax(dim=2).mean(dim=(0, 1)) - method.prior).abs().sum().item())
        step(training, batch, number)
    assert distances[-1] < 0.5 * distances[0]


@pytest.mark.parametrize("name", ALL)
def test_settings_of_the_paper(name):
    for dataset in ("cifar100lt", "cifar10lt"):
        h = default_hparams(name, dataset, "paper")
        assert (h.directions, h.warmup.whole(1000), h.ramp.whole(1000), h.refresh.whole(1000)) == (100, 500, 10, 20)
        assert (h.iterations, h.early_beta, h.beta, h.smoothing) == (300, 0.9, 0.999, 0)
    for dataset in ("imagenetlt", "placeslt"):
        h = default_hparams(name, dataset, "paper")
        assert (h.directions, h.warmup.whole(500), h.ramp.whole(500), h.refresh.whole(500)) == (100, 400, 30, 20)
        assert (h.smoothing, getattr(h, "prune", 0.1)) == (100, 0.1)


def test_the_hosts_are_those_of_the_paper():
    assert {name: METHODS[name].Host.name for name in ALL} == ALL
    assert not any(METHODS[name].suite for name in ALL)


def test_mistakes():
    with pytest.raises(UserError, match=r"gh\.directions is 129, above gh\.out_dim, which is 128; lower it"):
        _method(directions=129)
    with pytest.raises(UserError, match=r"gh\.warmup=10 is as long as the run of 10 epochs"):
        _method(warmup="10")


def test_the_prior_is_of_the_images_with_a_direction():
    method = _method(warmup="0", refresh="1")
    method.on_epoch_start(0, None)
    assert method.prior.tolist() == pytest.approx([1 / 6] * 6)  # no image has one yet
    method.memory.update(torch.arange(4), F.one_hot(torch.tensor([1, 1, 2, 5]), 6).double())
    method.on_epoch_start(1, None)
    assert method.prior.tolist() == [0, 0.5, 0.25, 0, 0, 0.25]
