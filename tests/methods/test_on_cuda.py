"""Every method as on a GPU, without one: no tensor is left on the CPU, and no training step waits for the device."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from backbones.precision import PRECISIONS
from data.loader import Batch
from methods import METHODS
from tests.fake_cuda import WaitsForDevice, fake_cuda
from tests.runs import small_config
from training.collapse import measure
from training.loop import SPIKE_WARMUP, _LossMeter, start_epoch, step
from training.prepare import Training, prepare

CUDA = torch.device("cuda")
B, N, POOL, CLUSTERS = 8, 40, 30, 4
# as many drawn images as clusters: of made-up budgets each cluster has one
COLT = {"budget": str(CLUSTERS), "clusters": str(CLUSTERS), "warmup": "1", "interval": "1"}
TASE = {"clusters": str(CLUSTERS), "warmup": "1", "refresh": "1"}
SETTINGS = {
    "byol": [{"hidden_dim": "32"}],
    "sdclr": [{}, {"head_layers": "3"}],
    "colt": [COLT, COLT | {"denominator": "cross_domain"}],
    "sdclr+colt": [COLT],
    "bcl+colt": [COLT],
    "mak": [{"budget": str(CLUSTERS), "clusters": str(CLUSTERS), "warmup": "1"}],
    "rwsam": [{"warmup": "1"}, {"warmup": "1", "adaptive": "false"}],
    "mocov2+rwsam": [{"warmup": "1"}],
    "tase": [
        TASE,
        TASE | {"clusterer": "dec", "features": "backbone", "assignment": "hard"},
        TASE | {"clusterer": "gh", "tau_map": "linear", "reweight": "inverse"},
        TASE | {"clusterer": "knn-density", "tau_map": "cosine", "grad_norm": "tau"},
        TASE | {"clusterer": "oracle", "aux_lambda": "0.5", "reweight": "none"},
        TASE | {"clusterer": "random"},
    ],
}
CASES = [
    pytest.param(name, hparams, precision, id=f"{name}-{number}-{precision}")
    for name in METHODS.names()
    for number, hparams in enumerate(SETTINGS.get(name, [{}]))
    for precision in (["fp32"] if number else ["fp32", "bf16"])
]


def _training(name: str, precision: str = "fp32", hparams: dict[str, str] | None = None, **recipe: Any) -> Training:
    """A small run on the device, its images and pool random."""
    stream = np.random.RandomState(0)
    images = torch.from_numpy(stream.randint(0, 256, (N, 3, 16, 16), dtype=np.uint8))
    pool = stream.randint(0, 256, (POOL, 3, 16, 16), dtype=np.uint8)
    config = small_config(name, precision=precision, hparams=hparams, batch_size=B, **recipe)
    return prepare(config, images, CUDA, pool=pool, labels=torch.arange(N) % CLUSTERS)


def _batch(training: Training, epoch: int, outside: int = 0) -> Batch:
    """Views without numbers; the last `outside` of the images are OOD images."""
    view = torch.empty(B, 3, 16, 16, device=CUDA, memory_format=torch.channels_last)
    index = torch.arange(B).masked_fill(torch.arange(B) >= B - outside, -1)
    return Batch((view,) * len(training.method.views), index.to(CUDA, non_blocking=True), epoch)


def _on_the_device(training: Training) -> None:
    tensors = [*training.state.parameters(), *training.state.buffers()]
    tensors += [p.grad for p in training.method.parameters() if p.grad is not None]
    tensors += [x for state in training.optimizer.state.values() for x in state.values() if isinstance(x, Tensor)]
    assert {x.device.type for x in tensors} == {"cuda"}


@pytest.mark.parametrize(("name", "hparams", "precision"), CASES)
def test_epochs_and_steps_run_on_the_device(name, hparams, precision, monkeypatch):
    monkeypatch.setattr("methods.clusters.DEC_STEPS", 2)
    with fake_cuda() as device:
        with device.waits():
            training = _training(name, precision, hparams)
        method = training.method
        for epoch in range(training.epochs):
            with device.waits():  # once an epoch methods may read their images and memories
                start_epoch(training, epoch)
                assert device.unordered == []  # else clusters and budgets would vary
                selected = method.extra_selection()
                drawn = 0 if selected is None or not method.extra_images(epoch) else len(training.corpus.take(selected))
            method.train()
            batch = _batch(training, epoch, outside=min(drawn, B // 2))
            strength = method.view_strength(batch.index)
            assert strength is None or strength.device.type == "cuda"
            loss, gradient = step(training, batch, epoch)
            assert loss.device.type == gradient.device.type == "cuda"
        without = [n for n, p in method.named_parameters() if p.requires_grad and p.grad is None]
        assert without == []
        _on_the_device(training)
        assert {x.device.type for x in method.sample_state().values()} <= {"cuda"}


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "lars"])
def test_optimizers_run_on_the_device(optimizer):
    with fake_cuda() as device:
        with device.waits():
            training = _training("simclr", optimizer=optimizer)
        training.method.train()
        for number in range(2):
            step(training, _batch(training, 0), number)
        assert training.optimizer.state
        _on_the_device(training)


def test_the_loss_meter_does_not_wait_for_the_device():
    with fake_cuda() as device:
        with device.waits():
            meter = _LossMeter(_training("simclr"), None)
        for number in range(SPIKE_WARMUP + 2):
            meter.add(torch.ones((), device="cuda"), torch.ones((), device="cuda"), B, number)


@pytest.mark.parametrize("name", ["simclr", "byol"])
def test_collapse_is_measured_on_the_device(name):
    with fake_cuda() as device, device.waits():
        assert measure(_training(name)).effective_rank > 0


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_corpus_is_embedded_on_the_device(precision):
    with fake_cuda() as device, device.waits(), torch.no_grad():
        training = _training("simclr", precision)
        for images in (training.corpus.images, training.corpus.pool):
            (rows,) = training.corpus.embed(training.method.project, images)
            assert (rows.device.type, rows.dtype, len(rows)) == ("cuda", torch.float32, len(images))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_kernels_are_those_of_the_precision(precision, monkeypatch):
    def used() -> tuple:
        cudnn = torch.backends.cudnn
        return cudnn.conv.fp32_precision, torch.backends.cuda.matmul.fp32_precision, cudnn.benchmark, cudnn.deterministic

    before, seen = used(), []

    def recording(name: str, function):
        return lambda *arguments, **options: seen.append((name, used())) or function(*arguments, **options)

    monkeypatch.setattr(Tensor, "backward", recording("backward", Tensor.backward))
    monkeypatch.setattr(nn.Conv2d, "_conv_forward", recording("network", nn.Conv2d._conv_forward))
    with fake_cuda() as device:
        with device.waits():
            training = _training("simclr", precision)
        seen.clear()
        training.method.train()
        step(training, _batch(training, 0), 0)
        with device.waits(), torch.no_grad():
            list(training.corpus.embed(training.method.project, training.corpus.images))
    assert {name for name, _ in seen} >= {"network", "backward"}
    assert {kernels for _, kernels in seen} == {("tf32" if precision == "tf32" else "ieee", "ieee", True, False)}
    assert used() == before


def _on_the_cpu(method, index, losses, z1, z2) -> Tensor:
    return losses * torch.ones(len(losses))


def _by_a_number(method, index, losses, z1, z2) -> Tensor:
    return losses / losses.max().item()


def _without_ood_images(method, index, losses, z1, z2) -> Tensor:
    return F.pad(losses[index >= 0], (0, 0))


@pytest.mark.parametrize(
    ("score", "error", "message"),
    [
        (_on_the_cpu, RuntimeError, "cuda:0 and cpu"),
        (_by_a_number, WaitsForDevice, "_local_scalar_dense"),
        (_without_ood_images, WaitsForDevice, "index.Tensor"),
    ],
)
def test_a_method_that_is_wrong_on_a_device_fails(score, error, message, monkeypatch):
    monkeypatch.setattr(METHODS["simclr"], "score", score)
    with fake_cuda() as device:
        with device.waits():
            training = _training("simclr")
        training.method.train()
        with pytest.raises(error, match=message):
            step(training, _batch(training, 0), 0)


MIXED = {
    "add": lambda x, i: x + torch.ones(3, 2),
    "matmul": lambda x, i: x @ torch.ones(2, 2),
    "in place": lambda x, i: torch.ones(3, 2).add_(x),
    "cat": lambda x, i: torch.cat([x, torch.ones(1, 2)]),
    "where": lambda x, i: torch.where(torch.ones(3, 2) > 0, x, 0.0),
    "convolution": lambda x, i: F.conv2d(x[None, None], torch.ones(1, 1, 1, 1)),
    "module left behind": lambda x, i: nn.Linear(2, 2)(x),
    "index of a CPU tensor": lambda x, i: torch.ones(3, 2)[i],
    "write to a CPU tensor": lambda x, i: torch.ones(3, 2).index_put_((i,), x),
    "write of a CPU tensor": lambda x, i: x.index_put_((i,), torch.ones(3, 2)),
    "list": lambda x, i: torch._foreach_lerp_([x], [torch.ones(3, 2)], 0.5),
}
WAITING = {
    "item": lambda x, i: x.sum().item(),
    "decision": lambda x, i: 1 if (x > 0).any() else 0,
    "to the CPU": lambda x, i: x.cpu(),
    "copy to the CPU": lambda x, i: torch.ones(3, 2).copy_(x),
    "copy to the device": lambda x, i: torch.ones(3, 2).to(x.device),
    "numbers to the device": lambda x, i: torch.tensor([1.0, 2.0], device=x.device),
    "index by CPU numbers": lambda x, i: x[torch.arange(2)],
    "one element": lambda x, i: x[0].__setitem__(0, 1.0),
    "a number at indices": lambda x, i: x.__setitem__(i, 1.0),
    "where with a CPU scalar": lambda x, i: torch.where(x > 0, x, torch.tensor(0.0)),
    "mask": lambda x, i: x[x > 0],
    "nonzero": lambda x, i: x.nonzero(),
    "one_hot without a size": lambda x, i: F.one_hot(i),
    "bincount": lambda x, i: i.bincount(minlength=4),
}
FINE = {
    "number": lambda x, i: 2 * x + 1,
    "CPU scalar": lambda x, i: x + torch.tensor(1.0),
    "where": lambda x, i: torch.where(x > 0, x, 0.0),
    "copy ahead": lambda x, i: torch.ones(3, 2).to(x.device, non_blocking=True),
    "fill at indices": lambda x, i: x.index_fill_(0, i, 0.0),
    "fill of a row": lambda x, i: x[-1:].fill_(0.0),
    "numbers made there": lambda x, i: torch.full((2,), 1.0, device=x.device),
    "one_hot": lambda x, i: F.one_hot(i, 4),
}


def _try(operation):
    with fake_cuda():
        return operation(torch.empty(3, 2, device=CUDA), torch.arange(3, device=CUDA))


@pytest.mark.parametrize("what", MIXED)
def test_two_devices_in_one_operation_are_refused(what):
    with pytest.raises(RuntimeError, match=r"(?i)device|is on cpu") as caught:
        _try(MIXED[what])
    assert caught.type is not WaitsForDevice


@pytest.mark.parametrize("what", WAITING)
def test_waits_are_refused(what):
    with pytest.raises(WaitsForDevice):
        _try(WAITING[what])


@pytest.mark.parametrize("what", FINE)
def test_what_a_gpu_takes_is_taken(what):
    assert _try(FINE[what]).device.type == "cuda"


def test_cpu_results_are_unchanged():
    def draw() -> list[Tensor]:
        torch.manual_seed(1)
        x = torch.randn(5, 2, requires_grad=True)
        (x[(x > 0).any(dim=1).nonzero().squeeze(1)] ** 2).sum().backward()
        assert x.grad is not None
        return [x.detach(), x.grad, torch.randperm(5, generator=torch.Generator().manual_seed(2))]

    plain = draw()
    with fake_cuda():
        assert all(torch.equal(a, b) for a, b in zip(plain, draw(), strict=True))


def test_gradients_are_of_the_graphs_own_kinds():
    """Shared parameters, a branch without gradient, and bfloat16 that ends in float32 parameters."""
    with fake_cuda() as device:
        with device.waits():
            layer = nn.Linear(2, 2).to(CUDA)
        x = torch.empty(3, 2, device=CUDA)
        with torch.autocast("cuda", dtype=torch.bfloat16):
            y = layer(layer(x)) + layer(x).detach()
            assert y.dtype == torch.bfloat16
        y.float().mean().backward()
        grads = [p.grad for p in layer.parameters()]
        assert [(g.shape, g.dtype, g.device.type) for g in grads if g is not None] == [
            ((2, 2), torch.float32, "cuda"),
            ((2,), torch.float32, "cuda"),
        ]
