import numpy as np
import pytest
import torch

from data.recipe import Recipe
from tests.runs import small_config
from training.optimizer import build_optimizer
from training.prepare import build_method
from training.schedule import learning_rate, view_size


def test_learning_rates_are_the_references_to_the_last_bit(golden):
    iters, epochs, warmup = (int(golden[f"lr_{name}"]) for name in ("iters", "epochs", "warmup_epochs"))
    trace = [
        learning_rate(step + 1, epochs * iters, warmup * iters, float(golden["lr_base"]), 1e-6)
        for step in range(epochs * iters)
    ]
    assert np.array_equal(trace, golden["lr_trace_step_before"])


def test_view_sizes_share_the_epochs():
    assert [view_size(e, 6, (16, 24, 32)) for e in range(6)] == [16, 16, 24, 24, 32, 32]
    assert [view_size(e, 2, (16, 24, 32)) for e in range(2)] == [16, 24]
    assert view_size(0, 1, (32,)) == 32


def test_sgd_is_the_protocols():
    """Momentum 0.9, no Nesterov, one group: weight decay reaches norms and biases (VITA-Group/SDCLR)."""
    method = build_method(small_config("simclr"), 100)
    optimizer = build_optimizer(method, Recipe())
    assert isinstance(optimizer, torch.optim.SGD)
    (group,) = optimizer.param_groups
    assert (group["momentum"], group["nesterov"], group["dampening"], group["weight_decay"]) == (0.9, False, 0, 1e-4)
    assert len(group["params"]) == len(list(method.parameters()))


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_byol_keeps_norms_and_biases_from_decaying_and_leaves_the_target_out(optimizer):
    method = build_method(small_config("byol"), 100)
    groups = build_optimizer(method, Recipe(optimizer=optimizer)).param_groups
    decays = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    for name, parameter in method.named_parameters():
        if name.startswith("target_"):
            assert id(parameter) not in decays
        else:
            assert decays[id(parameter)] == (0 if parameter.ndim <= 1 else 1e-4), name
