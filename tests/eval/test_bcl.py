"""BCL's linear probe against a NumPy Adam, and its draws."""

import dataclasses

import numpy as np
import pytest
import torch

from core.seeds import seed_of
from eval.features import LabelledFeatures
from eval.probes import PROBES, bcl
from eval.probes.bcl import train_head
from eval.probes.shots import draw_shots
from tests.eval.synthetic_features import gaussian_classes

CPU = torch.device("cpu")


def slow_adam(x, y, weight, bias, orders, lr_first, lr_last, decay, batch):
    """Adam with the L2 penalty in the gradient (Kingma & Ba); the learning rate decays exponentially by epoch."""
    parts, t = [weight.copy(), bias.copy()], 0
    first, second = ([np.zeros_like(p) for p in parts] for _ in range(2))
    factor, lr = (lr_last / lr_first) ** (1 / len(orders)), lr_first
    for order in orders:
        for start in range(0, len(order), batch):
            xb, yb = x[order[start : start + batch]], y[order[start : start + batch]]
            scores = xb @ parts[0].T + parts[1]
            p = np.exp(scores - scores.max(axis=1, keepdims=True))
            p /= p.sum(axis=1, keepdims=True)
            p[np.arange(len(yb)), yb] -= 1
            t += 1
            for i, gradient in enumerate((p.T @ xb / len(yb), p.mean(axis=0))):
                gradient = gradient + decay * parts[i]
                first[i] = 0.9 * first[i] + 0.1 * gradient
                second[i] = 0.999 * second[i] + 0.001 * gradient**2
                step = first[i] / (1 - 0.9**t) / (np.sqrt(second[i] / (1 - 0.999**t)) + 1e-8)
                parts[i] = parts[i] - lr * step
        lr *= factor
    return parts


def test_training_equals_a_slow_loop(monkeypatch):
    monkeypatch.setattr(bcl, "EPOCHS", 6)
    monkeypatch.setattr(bcl, "BATCH", 64)
    monkeypatch.setattr(bcl, "WEIGHT_DECAY", 0.3)  # large enough to distinguish L2 penalty and decoupled decay
    made = gaussian_classes()
    rows = LabelledFeatures(made.train, torch.arange(299, 89, -1), torch.from_numpy(made.labels)[90:].flip(0))
    head = train_head(rows, 3, CPU, seed=5)
    fresh = bcl._initial_head(8, 3, 5)
    orders = [torch.randperm(210, generator=bcl._stream(5, "order", epoch)).numpy() for epoch in range(6)]
    x, y = (part.numpy().astype(np.float64) if part.is_floating_point() else part.numpy() for part in rows[:])
    start = [p.detach().numpy().astype(np.float64) for p in (fresh.weight, fresh.bias)]
    weight, bias = slow_adam(x, y, *start, orders, 1e-2, 1e-6, 0.3, 64)
    assert np.abs(weight - start[0]).max() > 0.05
    assert np.allclose(head.weight.detach(), weight, atol=2e-5)
    assert np.allclose(head.bias.detach(), bias, atol=2e-5)


def test_settings_equal_the_reference():
    settings = (bcl.EPOCHS, bcl.BATCH, bcl.WEIGHT_DECAY, bcl.LR_FIRST, bcl.LR_LAST, bcl.DRAWS)
    assert settings == (500, 1000, 5e-6, 1e-2, 1e-6, 5)


def test_initialisation_follows_torch_and_the_seed():
    head, plain = bcl._initial_head(4096, 50, 0), torch.nn.Linear(4096, 50)
    for mine, torchs in ((head.weight, plain.weight), (head.bias, plain.bias)):
        assert mine.abs().max() <= 1 / 64
        assert mine.std().item() == pytest.approx(torchs.std().item(), rel=0.3)
    assert torch.equal(bcl._initial_head(4096, 50, 0).weight, head.weight)
    assert not torch.equal(bcl._initial_head(4096, 50, 1).weight, head.weight)


def test_the_seed_determines_the_head():
    made = gaussian_classes()
    rows = LabelledFeatures(made.train, torch.arange(300), torch.from_numpy(made.labels))
    heads = [train_head(rows, 3, CPU, seed).weight for seed in (0, 0, 1)]
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])


def few(monkeypatch, made, name, shots):
    monkeypatch.setattr(PROBES[name], "shots", shots)
    seen = []
    original = bcl.train_head
    monkeypatch.setattr(bcl, "train_head", lambda rows, *rest: seen.append((rows.index, rest)) or original(rows, *rest))
    return PROBES[name]().run(made.frozen(feature_lists=("train", "shot100")), seed=3), seen


@pytest.mark.parametrize("name", ["bcl-100shot", "bcl-50shot"])
def test_five_heads_are_trained_on_five_draws(monkeypatch, name):
    made = gaussian_classes()
    result, seen = few(monkeypatch, made, name, 10)
    assert (result.predicted.shape, result.n_train, result.chosen) == ((5, 150), 30, "five draws of this suite")
    for draw, (at, (_, _, seed)) in enumerate(seen, start=1):
        assert np.array_equal(at, draw_shots(made.lists.train, made.labels, 10, seed=3, draw=draw))
        assert seed == seed_of(3, "bcl", draw)
    assert (PROBES[name].feature_lists(made.lists), PROBES[name].needs) == (("train",), ("train",))


def test_smaller_classes_are_used_completely_and_reported(monkeypatch):
    result, seen = few(monkeypatch, gaussian_classes(), "bcl-50shot", 71)
    assert result.chosen == "five draws of this suite; classes with fewer than 71 images, which give all: 3 of 3"
    assert result.n_train == 210
    assert all(np.array_equal(np.sort(at), np.arange(210)) for at, _ in seen)


def test_a_published_100_shot_list_is_the_only_draw(monkeypatch):
    made = gaussian_classes()
    listed = dataclasses.replace(made, lists=dataclasses.replace(made.lists, shot100=np.arange(60, 90)))
    result, seen = few(monkeypatch, listed, "bcl-100shot", 10)
    assert (result.predicted.shape, result.n_train, result.chosen) == ((1, 150), 30, "list of Geometric-Harmonization")
    assert len(seen) == 1
    assert PROBES["bcl-100shot"].feature_lists(listed.lists) == ("shot100",)
    result, seen = few(monkeypatch, listed, "bcl-50shot", 10)
    assert len(seen) == 5


def test_full_shot_trains_one_head_on_the_full_list():
    result = PROBES["bcl"]().run(gaussian_classes().frozen(), seed=0)
    assert (result.predicted.shape, result.n_train, result.chosen) == ((1, 150), 210, "nothing")
