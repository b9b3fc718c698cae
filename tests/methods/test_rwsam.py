import dataclasses
import math

import pytest
import torch
from torch.nn import functional as F

from core.errors import UserError
from data.loader import Batch
from methods import METHODS
from methods.clusters import log_kernel_density
from tests.runs import small_config
from training.config import default_hparams
from training.loop import batches, start_epoch, step
from training.prepare import build_method, prepare

HOSTS = {"rwsam": "simsiam", "mocov2+rwsam": "mocov2"}
N, B = 20, 8
every_host = pytest.mark.parametrize("name", HOSTS)


def _training(name, images, **hparams):
    return prepare(small_config(name, epochs=4, hparams=hparams), images, torch.device("cpu"))


def _embedded(method, epoch=0):
    torch.manual_seed(1)
    views = torch.randn(2, B, 3, 16, 16, dtype=torch.float64)
    batch = Batch((views[0], views[1]), torch.arange(3, 3 + B), epoch)
    return method.encode(batch.views), batch


@every_host
def test_with_radius_0_it_is_its_host_bit_by_bit(name, photographs):
    """Also with weights that differ."""
    results = []
    for training in (_training(name, photographs, rho="0"), _training(HOSTS[name], photographs)):
        losses = []
        for epoch in range(2):
            start_epoch(training, epoch)
            training.method.train()
            losses += [step(training, batch, 8 * epoch + n)[0] for n, batch in enumerate(batches(training, epoch))]
        state = {key: value for key, value in training.method.state_dict().items() if key != "weight"}
        results.append({**state, "losses": torch.stack(losses)})
    ours, host = results
    assert ours.keys() == host.keys()
    assert all(torch.equal(ours[key], host[key]) for key in host)


@every_host
def test_a_small_radius_is_close_to_the_host_and_a_large_one_is_not(name, photographs):
    found = {}
    for rho in ("0", "1e-5", "5"):
        training = _training(name, photographs, rho=rho)
        training.method.train()
        step(training, next(iter(batches(training, 0))), 0)
        found[rho] = torch.cat([p.detach().flatten() for p in training.method.parameters() if p.requires_grad])
    assert (found["1e-5"] - found["0"]).norm() < 0.1 * (found["5"] - found["0"]).norm()


@every_host
def test_the_perturbation_follows_the_weighted_losses_and_the_step_equal_ones(name):
    method = build_method(small_config(name), N).double().train()
    method.weight.copy_(torch.rand(N))
    embeddings, batch = _embedded(method)
    before = {key: value.clone() for key, value in method.state_dict().items()}
    losses = method.losses(embeddings, 0)
    ascent = method.ascent(embeddings, batch.index, 0)
    assert all(torch.equal(value, before[key]) for key, value in method.state_dict().items())  # it changes no buffer
    expected = sum(method.weight[3 + i] * losses[i] for i in range(B)) / B
    assert ascent.loss.item() == pytest.approx(expected.item(), abs=1e-12)
    output = method.objective(embeddings, batch.index, 0)
    assert output.loss.item() == pytest.approx(losses.mean().item(), abs=1e-12)
    assert torch.equal(output.scores, method.weight[batch.index])


def test_density_equals_a_loop_written_from_the_formula():
    torch.manual_seed(0)
    x = F.normalize(torch.randn(9, 4, dtype=torch.float64), dim=1)
    squared = [[float((a - b).square().sum()) for b in x] for a in x]
    h2 = 0.5**2 * sum(map(sum, squared)) / 81
    expected = [sum(math.exp(-d / (2 * h2)) for d in row) / 9 for row in squared]
    assert log_kernel_density(x, 0.5).exp().tolist() == pytest.approx(expected, abs=1e-12)


def test_density_of_equal_features_is_equal():
    assert log_kernel_density(torch.ones(5, 1), 0.25).tolist() == pytest.approx([0] * 5, abs=1e-6)


@pytest.mark.parametrize("alpha", ["0", "0.5", "1"])
def test_weights_are_inverse_densities_of_mean_1(alpha, photographs):
    training = _training("rwsam", photographs, alpha=alpha, warmup="1", refresh="2")
    method = training.method
    start_epoch(training, 0)
    assert torch.equal(method.weight, torch.ones(256))
    start_epoch(training, 1)
    with torch.no_grad():
        x = F.normalize(torch.cat(list(training.corpus.embed(method.backbone, photographs))), dim=1)
    density = log_kernel_density(x, 0.25).exp()
    assert torch.allclose(method.weight, density ** -float(alpha) / (density ** -float(alpha)).mean(), rtol=1e-4)
    found = method.weight.clone()
    method.weight.fill_(0)
    start_epoch(training, 2)
    assert not method.weight.any()  # no estimate in this epoch
    start_epoch(training, 3)
    assert torch.equal(method.weight, found)


def test_a_small_cloud_has_larger_weights_than_a_large_one():
    torch.manual_seed(0)
    cloud = torch.arange(3).repeat_interleave(torch.tensor([400, 60, 8]))
    x = F.normalize(torch.eye(16)[cloud] + 0.1 * torch.randn(len(cloud), 16), dim=1)
    density = torch.stack([log_kernel_density(x, 0.25)[cloud == c].mean() for c in range(3)])
    assert density[0] > density[1] + 1 > density[2] + 2


@every_host
def test_settings_are_those_of_the_host_and_the_reference(name):
    for dataset, rho in (("cifar10lt", 0.5), ("imagenetlt", 2.0)):
        found = default_hparams(name, dataset, "cpu")
        assert (found.rho, found.adaptive) == (rho, True)
        for key, value in dataclasses.asdict(default_hparams(HOSTS[name], dataset, "cpu")).items():
            assert getattr(found, key) == value, key
    assert METHODS[name].stack() == (METHODS[HOSTS[name]], METHODS[name])


def test_a_warm_up_as_long_as_the_run_is_refused():
    with pytest.raises(UserError, match=r"rwsam\.warmup=4 is as long as the run of 4 epochs"):
        build_method(small_config("rwsam", epochs=4, hparams={"warmup": "4"}), N)
