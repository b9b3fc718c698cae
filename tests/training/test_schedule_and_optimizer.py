import numpy as np
import pytest
import timm.optim.muon
import torch

from data.recipe import Recipe
from tests.runs import small_config
from training.optimizer import build_optimizer
from training.prepare import build_method
from training.schedule import learning_rate, view_size


def test_learning_rates_are_bit_identical_to_the_reference(golden):
    iters, epochs, warmup = (int(golden[f"lr_{name}"]) for name in ("iters", "epochs", "warmup_epochs"))
    trace = [
        learning_rate(step + 1, epochs * iters, warmup * iters, float(golden["lr_base"]), 1e-6)
        for step in range(epochs * iters)
    ]
    assert np.array_equal(trace, golden["lr_trace_step_before"])


def test_a_linear_schedule_is_a_straight_line_after_the_warm_up():
    rates = [learning_rate(step, 12, 2, 1.0, 0.1, "linear") for step in range(1, 13)]
    assert rates[:2] == [0.5, 1.0]
    assert np.diff(rates[1:]) == pytest.approx(-0.09)
    assert rates[-1] == pytest.approx(0.1)


def test_view_sizes_divide_the_epochs_equally():
    assert [view_size(e, 6, (16, 24, 32)) for e in range(6)] == [16, 16, 24, 24, 32, 32]
    assert [view_size(e, 2, (16, 24, 32)) for e in range(2)] == [16, 24]
    assert view_size(0, 1, (32,)) == 32


def test_sgd_follows_the_protocol():
    """Momentum 0.9, no Nesterov, one group: weight decay reaches norms and biases (VITA-Group/SDCLR)."""
    method = build_method(small_config("simclr"), 100)
    optimizer = build_optimizer(method, Recipe(), "fp32")
    assert isinstance(optimizer, torch.optim.SGD)
    (group,) = optimizer.param_groups
    assert (group["momentum"], group["nesterov"], group["dampening"], group["weight_decay"]) == (0.9, False, 0, 1e-4)
    assert len(group["params"]) == len(list(method.parameters()))


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "muon"])
def test_byol_excludes_norms_biases_and_target_from_weight_decay(optimizer):
    method = build_method(small_config("byol"), 100)
    groups = build_optimizer(method, Recipe(optimizer=optimizer), "fp32").param_groups
    decays = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    for name, parameter in method.named_parameters():
        if name.startswith("target_"):
            assert id(parameter) not in decays
        else:
            assert decays[id(parameter)] == (0 if parameter.ndim <= 1 else 1e-4), name


def test_muon_updates_matrices_and_adamw_norms_and_biases():
    method = build_method(small_config("simclr"), 100)
    before = {name: parameter.detach().clone() for name, parameter in method.named_parameters()}
    optimizer = build_optimizer(method, Recipe(optimizer="muon", lr=0.01, weight_decay=0.0), "fp32")
    stream = torch.Generator().manual_seed(0)
    for parameter in method.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=stream)
    optimizer.step()
    for name, parameter in method.named_parameters():
        step = before[name] - parameter.detach()
        if parameter.ndim > 1:
            matrix = step.flatten(1)
            adamw = 0.01 * 0.2 * max(matrix.shape) ** 0.5  # singular values of a step as large as AdamW's
            values = torch.linalg.svdvals(matrix) / adamw
            assert values.quantile(0.25) > 0.6, name  # a square random matrix has a few that are all but zero
            assert values.max() < 1.3, name
        else:
            assert torch.allclose(step.abs(), torch.full_like(step, 0.01 * 0.2), rtol=0.02), name


@pytest.mark.parametrize("optimizer", ["muon", "lars"])
def test_norms_and_biases_are_not_decayed(optimizer):
    method = build_method(small_config("simclr"), 100)  # its reference decays all parameters, under SGD
    groups = build_optimizer(method, Recipe(optimizer=optimizer), "fp32").param_groups
    decays = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    for name, parameter in method.named_parameters():
        assert decays[id(parameter)] == (0 if parameter.ndim <= 1 else 1e-4), name


def test_lars_adapts_the_rate_of_matrices_alone():
    """w - lr * 0.001 |w| / (|g| + decay |w|) * (g + decay w) for matrices, w - lr * g for norms and biases."""
    method, decay = build_method(small_config("simclr"), 100), 0.1
    optimizer = build_optimizer(method, Recipe(optimizer="lars", lr=2.0, weight_decay=decay), "fp32")
    stream = torch.Generator().manual_seed(0)
    before = {name: parameter.detach().clone() for name, parameter in method.named_parameters()}
    for parameter in method.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=stream)
    optimizer.step()
    for name, parameter in method.named_parameters():
        w, g = before[name], parameter.grad
        if w.ndim > 1:
            g = 0.001 * w.norm() / (g.norm() + decay * w.norm()) * (g + decay * w)
        torch.testing.assert_close(parameter.detach(), w - 2.0 * g, rtol=1e-4, atol=1e-6, msg=name)


def test_muon_orthogonalizes_at_the_precision_of_the_run(monkeypatch):
    """timm's own function is restored after the step."""
    seen = []

    def noting(gradient, *args, dtype=None, **options):
        seen.append(dtype)
        return original(gradient, *args, dtype=dtype, **options)

    original = timm.optim.muon.zeropower_via_newtonschulz
    monkeypatch.setattr(timm.optim.muon, "zeropower_via_newtonschulz", noting)
    for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        method = build_method(small_config("simclr"), 100)
        optimizer = build_optimizer(method, Recipe(optimizer="muon"), precision)
        for parameter in method.parameters():
            parameter.grad = torch.ones_like(parameter)
        seen.clear()
        optimizer.step()
        assert set(seen) == {dtype}
        assert timm.optim.muon.zeropower_via_newtonschulz is noting
