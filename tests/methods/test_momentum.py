import pytest
import torch
from torch import nn

from methods.momentum import cosine_momentum, ema_copy, ema_update


def _network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.Linear(5, 2)).double()


def test_ema_update_equals_a_loop_written_from_the_formula():
    torch.manual_seed(0)
    sources = [_network(), nn.Linear(2, 2).double()]
    targets = [ema_copy(network) for network in sources]
    expected = [p.flatten().tolist() for network in targets for p in network.parameters()]
    for momentum in (0.9, 0.0, 0.99, 1.0):
        with torch.no_grad():
            for network in sources:
                for p in network.parameters():
                    p += torch.randn_like(p)
        ema_update(targets, sources, momentum)
        online = [p.flatten().tolist() for network in sources for p in network.parameters()]
        expected = [
            [momentum * old + (1 - momentum) * new for old, new in zip(row, values, strict=True)]
            for row, values in zip(expected, online, strict=True)
        ]
        found = [p.flatten().tolist() for network in targets for p in network.parameters()]
        for row, values in zip(found, expected, strict=True):
            assert row == pytest.approx(values, abs=1e-12)


def test_the_copy_is_frozen_and_shares_nothing():
    source = _network()
    target = ema_copy(source)
    assert not any(p.requires_grad for p in target.parameters())
    assert all(p.requires_grad for p in source.parameters())
    (source(torch.randn(4, 3, dtype=torch.float64)) - target(torch.randn(4, 3, dtype=torch.float64))).sum().backward()
    ema_update([target], [source], 0.5)
    assert all(p.grad is None and not p.requires_grad for p in target.parameters())
    assert not {p.data_ptr() for p in target.parameters()} & {p.data_ptr() for p in source.parameters()}


def test_batch_norm_statistics_are_not_averaged():
    source = _network()
    target = ema_copy(source)
    source(torch.randn(8, 3, dtype=torch.float64))
    ema_update([target], [source], 0.0)
    assert not torch.equal(source[1].running_mean, target[1].running_mean)
    assert torch.equal(target[1].running_mean, torch.zeros(5, dtype=torch.float64))


def test_networks_of_different_size_are_refused():
    with pytest.raises(ValueError, match="6 parameters in the targets, 2 in the sources"):
        ema_update([_network()], [nn.Linear(3, 5)], 0.9)


def test_momentum_follows_a_half_cosine_or_is_constant():
    assert [cosine_momentum(0.99, step, 40) for step in (0, 20, 40)] == pytest.approx([0.99, 0.995, 1.0], abs=1e-15)
    assert [cosine_momentum(0.99, step, 40, end=0.999) for step in (0, 20, 40)] == pytest.approx([0.99, 0.9945, 0.999])
    assert [cosine_momentum(0.999, step, 40, end=0.999) for step in (0, 13, 40)] == [0.999] * 3
