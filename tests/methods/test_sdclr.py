import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from backbones.corpus import Corpus
from data.loader import Batch
from data.views.spec import Evaluation
from data.views.torch_backend import TorchViews
from methods.losses import nt_xent
from tests.runs import small_config
from training.prepare import build_method

B = 8
UNSEEN = Corpus(torch.empty(0, 3, 16, 16, dtype=torch.uint8), TorchViews(()), Evaluation())  # SDCLR uses weights only


def _method(prune: float = 0.7, **hparams):
    """SDCLR in double precision, pruned, with norms of the branches that differ."""
    method = build_method(small_config("sdclr", hparams={"prune": prune, **hparams}), 100).double().train()
    torch.manual_seed(0)
    for norm in (part for part in method.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)):
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.uniform_(norm.bias, -0.5, 0.5)
    method.on_epoch_start(0, UNSEEN)
    return method


def _views():
    torch.manual_seed(1)
    return torch.randn(B, 3, 16, 16, dtype=torch.float64), torch.randn(B, 3, 16, 16, dtype=torch.float64)


def _competitor_apart(method):
    """Backbone and projector of the pruned branch as a network that shares nothing with the dense one."""
    backbone, projector = copy.deepcopy(method.backbone), copy.deepcopy(method.projector)
    with torch.no_grad():
        convolutions = [part for part in backbone.modules() if isinstance(part, nn.Conv2d)]
        for part, mask in zip(convolutions, method.competitor.masks, strict=True):
            part.weight *= mask
    for network, competitor in ((backbone, method.competitor), (projector, method.competitor_projector)):
        norms = [part for part in network.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
        for norm, own in zip(norms, competitor.norms, strict=True):
            norm.load_state_dict(own.state_dict())
    return backbone, projector


def test_one_backward_is_the_references_two_half_passes():
    """Dense with the pruned features detached, then pruned with the dense ones detached; the weights add both up."""
    method, (x1, x2) = _method(head_layers=3), _views()
    dense = copy.deepcopy(method.backbone), copy.deepcopy(method.projector)
    pruned = _competitor_apart(method)
    u, v = dense[1](dense[0](x1)), pruned[1](pruned[0](x2))
    nt_xent(u, v.detach(), 0.2).mean().backward()
    nt_xent(u.detach(), v, 0.2).mean().backward()

    output = method.loss(Batch((x1, x2), torch.arange(B)))
    assert torch.allclose(output.loss, nt_xent(u, v, 0.2).mean(), atol=1e-12)
    output.loss.backward()
    names = {id(p): name for name, p in method.named_parameters()}
    masks = dict(zip(method.competitor._masked_names, method.competitor.masks, strict=True))
    compared, largest = set(), 0.0
    for place, own, two in (
        ("backbone", method.backbone, (dense[0], pruned[0])),
        ("projector", method.projector, (dense[1], pruned[1])),
    ):
        is_norm = {
            f"{n}.{key}"
            for n, m in own.named_modules()
            if isinstance(m, nn.modules.batchnorm._BatchNorm)
            for key in ("weight", "bias")
        }
        for name, parameter in own.named_parameters():
            first, second = (network.get_parameter(name).grad for network in two)
            if name in is_norm:  # each branch has its own
                competitor = method.competitor if place == "backbone" else method.competitor_projector
                norm, key = name.rsplit(".", 1)
                other = competitor.norms[competitor._norm_names.index(norm)].get_parameter(key)
                pairs = [(parameter, first), (other, second)]
            else:
                pairs = [(parameter, first + second * masks[name] if place == "backbone" and name in masks else first + second)]
            for parameter, expected in pairs:
                compared.add(names[id(parameter)])
                assert expected.any() or name == "0.bias"  # a bias in front of a batch norm gets none
                largest = max(largest, (parameter.grad - expected).abs().max().item())
    assert compared == set(names.values())
    assert largest < 1e-12


def test_no_gradient_reaches_masked_weights_through_the_pruned_branch():
    method, (x1, x2) = _method(), _views()
    u, v = method.encode((x1, x2))
    nt_xent(u.detach(), v, 0.2).mean().backward()
    reached = 0
    for name, mask in zip(method.competitor._masked_names, method.competitor.masks, strict=True):
        gradient = method.backbone.get_parameter(name).grad
        assert not gradient[~mask].any()
        reached += int((gradient[mask] != 0).sum())
    assert reached > 0.9 * sum(int(mask.sum()) for mask in method.competitor.masks)
    dense_norms = [m for m in method.backbone.modules() if isinstance(m, nn.BatchNorm2d)]
    assert all(norm.weight.grad is None for norm in dense_norms)


def test_it_prunes_by_the_weights_of_the_moment_and_no_part_of_the_projector():
    method = _method(prune=0.9)
    first = [mask.clone() for mask in method.competitor.masks]
    with torch.no_grad():
        for parameter in method.backbone.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    method.loss(Batch(_views(), torch.arange(B))).loss.backward()
    assert all(torch.equal(a, b) for a, b in zip(method.competitor.masks, first, strict=True))
    method.on_epoch_start(1, UNSEEN)
    now = torch.cat([mask.flatten() for mask in method.competitor.masks])
    assert not torch.equal(now, torch.cat([mask.flatten() for mask in first]))
    assert (~now).sum() == -(-9 * len(now) // 10)
    assert method.competitor_projector.masks == []


def test_three_layers_are_the_references_head():
    """Linear with bias, norm, ReLU, Linear, norm, ReLU, Linear, norm: `models/resnet_prune_multibn.py`."""
    head = _method(head_layers=3).projector
    kinds = ["Linear", "BatchNorm1d", "ReLU", "Linear", "BatchNorm1d", "ReLU", "Linear", "BatchNorm1d"]
    assert [type(layer).__name__ for layer in head] == kinds
    assert [tuple(head[i].weight.shape) for i in (0, 3, 6)] == [(64, 64), (64, 64), (128, 64)]
    assert [head[i].bias is None for i in (0, 3, 6)] == [False, True, True]
    assert [len(_method(head_layers=n).competitor_projector.norms) for n in (2, 3)] == [2, 3]


def test_the_tail_score_is_the_branches_disagreement():
    method, views = _method(), _views()
    scores = method.loss(Batch(views, torch.arange(B))).scores
    u, v = (z.detach() for z in method.encode(views))
    expected = [1 - (a @ b / (a.norm() * b.norm())).item() for a, b in zip(u, v, strict=True)]
    assert scores.tolist() == pytest.approx(expected, abs=1e-6)
    assert max(expected) > 0.1


def test_the_pruned_branch_does_not_affect_the_probed_network(photographs):
    sdclr = build_method(small_config("sdclr"), 100).train()
    simclr = build_method(small_config("simclr"), 100).train()
    assert list(sdclr.backbone.state_dict()) == list(simclr.backbone.state_dict())
    x = photographs[:B].float() / 255
    with torch.no_grad():
        sdclr.on_epoch_start(0, Corpus(photographs, TorchViews(()), Evaluation()))
        sdclr.encode((x, x.flip(3)))
        simclr.backbone(x)  # the dense branch saw the first view, and no other
        assert torch.equal(sdclr.backbone.eval()(x), simclr.backbone.eval()(x))
        assert torch.equal(sdclr.project(x), sdclr.projector(simclr.backbone(x)))
        pruned = sdclr.competitor(sdclr.backbone, x)
    assert F.cosine_similarity(pruned, sdclr.backbone(x)).max() < 0.999
