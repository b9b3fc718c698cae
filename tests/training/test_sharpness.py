"""Steps of sharpness-aware minimisation against ones written by hand."""

import math

import pytest
import torch
from torch import Tensor, nn

from backbones.precision import autocast
from data.loader import Batch
from methods import Method, Output
from methods.sharpness import Sharpness
from tests.runs import small_config
from training.gradients import backward
from training.loop import batches, step
from training.prepare import prepare
from training.sharpness import perturbed

CPU = torch.device("cpu")
ROWS = 7


class Quadratic(Method):
    """Loss of a linear layer; the weighted one of the ascent has other weights of the images."""

    def build(self, width: int) -> None:
        self.layer = nn.Linear(4, 2)
        self.unused = nn.Parameter(torch.ones(3))

    def encode(self, views: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (self.layer(views[0]),)

    def objective(self, embeddings: tuple[Tensor, ...], index: Tensor, epoch: int) -> Output:
        losses = (embeddings[0] - 1).square().sum(dim=1)
        return Output(losses.mean(), losses.detach())

    def ascent(self, embeddings: tuple[Tensor, ...], index: Tensor, epoch: int) -> Output:
        losses = (embeddings[0] - 1).square().sum(dim=1)
        return Output((index * losses).mean(), losses.detach())


def _made(sharpness: Sharpness | None) -> tuple[Quadratic, Batch]:
    torch.manual_seed(0)
    method = Quadratic(None, nn.Identity(), 4, None).double()
    method.sharpness = sharpness
    return method, Batch((torch.randn(ROWS, 4, dtype=torch.float64),), torch.arange(ROWS))


def _by_hand(x: Tensor, W: Tensor, b: Tensor, weights: list[float]) -> tuple[Tensor, Tensor]:
    """Gradients of sum_i weights_i |W x_i + b - 1|^2 / n."""
    dW, db = torch.zeros_like(W), torch.zeros_like(b)
    for row, weight in zip(x, weights, strict=True):
        residual = 2 * weight / len(x) * (W @ row + b - 1)
        dW += residual[:, None] * row
        db += residual
    return dW, db


@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize(("rho", "adaptive"), [(0.3, False), (0.3, True), (5.0, True)])
def test_the_gradient_is_that_at_perturbed_weights(rho, adaptive, accumulate):
    method, batch = _made(Sharpness(rho, adaptive))
    W, b = (p.detach().clone() for p in method.layer.parameters())
    with perturbed(method, batch, autocast(CPU, "fp32"), accumulate):
        there = [p.detach().clone() for p in method.layer.parameters()]
        backward(method, batch, autocast(CPU, "fp32"), accumulate)
    dW, db = _by_hand(batch.views[0], W, b, list(range(ROWS)))
    scale_W, scale_b = (W.abs(), b.abs()) if adaptive else (torch.ones_like(W), torch.ones_like(b))
    norm = math.sqrt(float((scale_W * dW).square().sum() + (scale_b * db).square().sum()))
    expected = [W + rho * scale_W**2 * dW / norm, b + rho * scale_b**2 * db / norm]
    gradients = _by_hand(batch.views[0], *expected, [1.0] * ROWS)
    for p, before in zip(method.layer.parameters(), (W, b), strict=True):
        assert torch.equal(p, before)  # exactly, without rounding
    for found, perturbation in zip(there, expected, strict=True):
        assert torch.allclose(found, perturbation, atol=1e-10)
    for p, gradient in zip(method.layer.parameters(), gradients, strict=True):
        assert torch.allclose(p.grad, gradient, atol=1e-10)
    assert torch.equal(method.unused, torch.ones(3))
    assert method.unused.grad is None


def test_without_sharpness_nothing_changes():
    method, batch = _made(None)
    method.ascent = None
    with perturbed(method, batch, autocast(CPU, "fp32"), 1):
        backward(method, batch, autocast(CPU, "fp32"), 1)
    for p, gradient in zip(
        method.layer.parameters(), _by_hand(batch.views[0], *method.layer.parameters(), [1.0] * ROWS), strict=True
    ):
        assert torch.allclose(p.grad, gradient)


def test_a_gradient_of_0_perturbs_nothing():
    weights = [torch.randn(3), torch.randn(2, 2)]
    for adaptive in (False, True):
        steps = Sharpness(1.0, adaptive).perturbation(weights, [torch.zeros_like(w) for w in weights])
        assert not any(s.any() for s in steps)


class Random(Quadratic):
    """With dropout and batch norm."""

    def build(self, width: int) -> None:
        super().build(width)
        self.norm, self.dropout = nn.BatchNorm1d(2), nn.Dropout()
        self.seen: list[Tensor] = []

    def encode(self, views: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        z = self.dropout(self.norm(self.layer(views[0])))
        self.seen.append(z.detach() == 0)
        return (z,)


@pytest.mark.parametrize("accumulate", [1, 3])
def test_both_passes_have_the_same_random_numbers_and_the_first_one_the_statistics(accumulate):
    methods = []
    for sharpness in (None, Sharpness(0.1)):
        torch.manual_seed(0)
        method = Random(None, nn.Identity(), 4, None)
        method.sharpness = sharpness
        batch = Batch((torch.randn(ROWS, 4),), torch.arange(ROWS))
        torch.manual_seed(5)
        with perturbed(method, batch, autocast(CPU, "fp32"), accumulate):
            backward(method, batch, autocast(CPU, "fp32"), accumulate)
        methods.append(method)
    ordinary, sharp = methods
    assert len(sharp.seen) == 2 * len(ordinary.seen)
    for passes in (sharp.seen[: len(ordinary.seen)], sharp.seen[len(ordinary.seen) :]):
        assert all(torch.equal(a, b) for a, b in zip(passes, ordinary.seen, strict=True))
    for key, value in ordinary.norm.state_dict().items():
        assert torch.equal(sharp.norm.state_dict()[key], value), key


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_step_of_the_loop_is_that_of_hand_made_sgd(photographs, accumulate):
    """Two passes on a real network, in the order of the formula."""
    results = []
    for by_hand in (False, True):
        training = prepare(
            small_config("rwsam", optimizer="sgd", lr=0.05, accumulate=accumulate, hparams={"rho": "0.7", "adaptive": "false"}),
            photographs,
            CPU,
        )
        method = training.method.train()
        method.weight.copy_(torch.linspace(0.1, 2, 256))
        batch = next(iter(batches(training, 0)))
        if not by_hand:
            step(training, batch, 0)
        else:
            parameters = [p for p in method.parameters() if p.requires_grad]
            context = autocast(CPU, "fp32")
            backward(method, batch, context, accumulate, method.ascent)
            norm = math.sqrt(sum(float(p.grad.double().square().sum()) for p in parameters))
            old = [p.detach().clone() for p in parameters]
            with torch.no_grad():
                for p in parameters:
                    p += 0.7 * p.grad / norm
                    p.grad = None
            sharpness, method.sharpness = method.sharpness, None
            step(training, batch, 0)
            method.sharpness = sharpness
            with torch.no_grad():
                for p, before in zip(parameters, old, strict=True):
                    rate = training.optimizer.param_groups[0]["lr"]
                    decay = training.optimizer.param_groups[0]["weight_decay"]
                    p.copy_(before - rate * (p.grad + decay * before))
        results.append(torch.cat([p.detach().flatten() for p in method.parameters() if p.requires_grad]))
    assert torch.allclose(*results, atol=1e-6)
