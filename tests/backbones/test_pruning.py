import copy
import math
from functools import cache

import numpy as np
import pytest
import torch
from torch import nn

import backbones
from backbones.pruning import Competitor, check_prunable, magnitude_masks
from core.errors import UserError

PRUNABLE = ["resnet18", "efficientnet_b0", "densenet121"]


def _pair(name: str = "tiny-resnet8") -> tuple[nn.Module, Competitor]:
    """A network in train mode, and its competitor with 0.6 of the weights masked and norms that differ from the network's."""
    return copy.deepcopy(_made(name))


@cache
def _made(name: str) -> tuple[nn.Module, Competitor]:
    torch.manual_seed(0)
    network = backbones.create(name, image_size=32).train()
    competitor = Competitor(network)
    for parameter in competitor.norms.parameters():
        nn.init.uniform_(parameter, 0.5, 1.5)
    competitor.prune(network, 0.6)
    return network, competitor


def _convolutions(network: nn.Module) -> list[torch.Tensor]:
    return [part.weight for part in network.modules() if isinstance(part, nn.Conv2d)]


@pytest.mark.parametrize("share", [30, 90])
def test_masks_are_the_references(golden, share):
    weights = [torch.from_numpy(golden[f"prune{share}_w_{layer}"]) for layer in "abc"]
    for mask, layer in zip(magnitude_masks(weights, share / 100), "abc", strict=True):
        assert np.array_equal(mask.numpy(), golden[f"prune{share}_mask_{layer}"])


@pytest.mark.parametrize("fraction", [0.0, 1 / 3, 0.5, 0.9, 0.99])
def test_all_weights_compete_and_n_minus_the_ceiling_of_rho_n_stay(fraction):
    torch.manual_seed(0)
    weights = [torch.randn(7, 5, 3, 3), 0.01 * torch.randn(11), torch.randn(4, 4)]
    masks = magnitude_masks(weights, fraction)
    n = sum(weight.numel() for weight in weights)
    assert sum(int(mask.sum()) for mask in masks) == n - math.ceil(fraction * n)
    kept = torch.cat([weight[mask].abs() for weight, mask in zip(weights, masks, strict=True)])
    lost = torch.cat([weight[~mask].abs() for weight, mask in zip(weights, masks, strict=True)])
    assert fraction == 0 or lost.max() < kept.min()


@pytest.mark.parametrize("name", PRUNABLE)
def test_it_is_the_network_with_masked_weights_and_norms_of_its_own(name):
    network, competitor = _pair(name)
    weights, x = _convolutions(network), torch.randn(4, 3, 32, 32)
    assert [mask.shape for mask in competitor.masks] == [weight.shape for weight in weights]
    kept = torch.cat([weight[mask].abs() for weight, mask in zip(weights, competitor.masks, strict=True)])
    n = sum(weight.numel() for weight in weights)
    assert 0 <= len(kept) - (n - math.ceil(0.6 * n)) < (kept == kept.min()).sum()  # equal magnitudes stay together

    apart = copy.deepcopy(network)
    with torch.no_grad():
        for weight, mask in zip(_convolutions(apart), competitor.masks, strict=True):
            weight *= mask
        norms = [part for part in apart.modules() if isinstance(part, nn.BatchNorm2d)]
        for norm, own in zip(norms, competitor.norms, strict=True):
            norm.load_state_dict(own.state_dict())
        assert torch.equal(competitor(network, x), apart(x))
        for norm, own in zip(norms, competitor.norms, strict=True):
            assert torch.equal(norm.running_var, own.running_var)
            assert own.num_batches_tracked == 1


@pytest.mark.parametrize("name", PRUNABLE)
def test_the_network_computes_as_if_it_had_no_competitor(name):
    network, competitor = _pair(name)
    alone = copy.deepcopy(network)
    x, y = torch.randn(4, 3, 32, 32), torch.randn(4, 3, 32, 32)
    with torch.no_grad():
        competitor(network, y)  # leaves nothing behind in the network
        assert all(torch.equal(a, b) for a, b in zip(network.state_dict().values(), alone.state_dict().values(), strict=True))
        before = copy.deepcopy(competitor.state_dict())
        assert torch.equal(network(x), alone(x))
        assert all(torch.equal(a, b) for a, b in zip(competitor.state_dict().values(), before.values(), strict=True))
        competitor(network, y)
        assert torch.equal(network.eval()(x), alone.eval()(x))
    moved = [own.running_mean.any() and own.num_batches_tracked == 2 for own in competitor.norms]
    assert moved
    assert all(moved)
    assert network.get_submodule(competitor._norm_names[0]).num_batches_tracked == 1


def test_masks_are_state_and_not_parameters_and_the_network_is_neither():
    network, competitor = _pair()
    masks = {name: tensor for name, tensor in competitor.state_dict().items() if name.startswith("mask-")}
    assert len(masks) == len(_convolutions(network)) == 9
    assert all(mask.dtype == torch.bool for mask in masks.values())
    own = {id(parameter) for parameter in competitor.parameters()}
    assert len(own) == 2 * len(competitor.norms)
    assert not own & {id(parameter) for parameter in network.parameters()}
    assert len(competitor.state_dict()) == len(masks) + 5 * len(competitor.norms)
    restored = Competitor(network)
    restored.load_state_dict(competitor.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(restored.masks, competitor.masks, strict=True))


def test_masks_change_in_prune_alone():
    network, competitor = _pair()
    before = [mask.clone() for mask in competitor.masks]
    optimizer = torch.optim.SGD([*network.parameters(), *competitor.parameters()], lr=0.1)
    competitor(network, torch.randn(4, 3, 32, 32)).square().mean().backward()
    optimizer.step()
    with torch.no_grad():
        for weight in _convolutions(network):
            weight += 0.1 * torch.randn_like(weight)
    competitor(network, torch.randn(4, 3, 32, 32))
    assert all(torch.equal(a, b) for a, b in zip(competitor.masks, before, strict=True))
    competitor.prune(network, 0.6)
    assert not any(torch.equal(a, b) for a, b in zip(competitor.masks, before, strict=True))
    assert all(mask.all() for mask in Competitor(network).masks)  # nothing is masked at first


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "convnext_atto"])
def test_networks_without_batch_norm_are_refused(name):
    with pytest.raises(UserError, match=r"SDCLR needs .* this one has no batch norm; use a ResNet") as error:
        check_prunable(backbones.create(name, image_size=224))
    assert "\n" not in str(error.value)


def test_networks_without_convolutions_are_refused():
    with pytest.raises(UserError, match="this one has no convolutions"):
        check_prunable(nn.Sequential(nn.Flatten(), nn.Linear(12, 4), nn.BatchNorm1d(4)))
