import copy
import math

import torch

from data.loader import Batch
from methods import METHODS
from methods.losses import nt_xent
from methods.momentum import cosine_momentum
from tests.runs import small_config
from training.prepare import build_method


def _batch(count=12):
    torch.manual_seed(0)
    return Batch((torch.randn(count, 3, 16, 16), torch.randn(count, 3, 16, 16)), torch.arange(count))


def test_simclr_shares_batch_statistics_between_the_views():
    method, batch = build_method(small_config("simclr"), 100).train(), _batch()
    joint = method.loss(batch).loss
    z = method.projector(method.backbone(torch.cat(batch.views)))
    assert torch.allclose(joint, nt_xent(z[:12], z[12:], 0.2).mean())
    separate = [method.projector(method.backbone(view)) for view in batch.views]
    assert not torch.allclose(joint, nt_xent(*separate, 0.2).mean(), atol=1e-4)


def test_heads_are_those_of_the_references():
    simclr = build_method(small_config("simclr"), 100).projector
    assert [type(layer).__name__ for layer in simclr] == ["Linear", "BatchNorm1d", "ReLU", "Linear", "BatchNorm1d"]
    assert [tuple(simclr[i].weight.shape) for i in (0, 3)] == [(64, 64), (128, 64)]
    assert (simclr[0].bias is not None, simclr[3].bias is None) == (True, True)
    byol = build_method(small_config("byol", hparams={"hidden_dim": 4096}), 100)
    for head, width in ((byol.projector, 64), (byol.predictor, 256)):
        assert [type(layer).__name__ for layer in head] == ["Linear", "BatchNorm1d", "ReLU", "Linear"]
        assert [tuple(head[i].weight.shape) for i in (0, 3)] == [(4096, width), (256, 4096)]
        assert head[3].bias is not None


def test_byol_loss_equals_a_slow_loop():
    method, batch = build_method(small_config("byol"), 100).train(), _batch()
    reference = copy.deepcopy(method)
    with torch.no_grad():
        expected = 0.0
        outputs = []
        for view in batch.views:
            p = reference.predictor(reference.projector(reference.backbone(view)))
            z = reference.target_projector(reference.target_backbone(view))
            outputs.append((p, z))
        for a, b in ((0, 1), (1, 0)):
            for i in range(12):
                p, z = outputs[a][0][i], outputs[b][1][i]
                expected += (2 - 2 * (p @ z / (p.norm() * z.norm())).item()) / 12
    output = method.loss(batch)
    assert math.isclose(output.loss.item(), expected, rel_tol=1e-5)
    assert 0 <= output.loss.item() <= 8
    assert torch.allclose(output.scores.mean(), output.loss)


def test_byol_target_moves_by_average_only_and_gets_no_gradient():
    method, batch = build_method(small_config("byol"), 100).train(), _batch()
    before = [p.clone() for p in method.target_projector.parameters()]
    method.loss(batch).loss.backward()
    assert all(p.grad is None for p in [*method.target_backbone.parameters(), *method.target_projector.parameters()])
    with torch.no_grad():
        for p in method.projector.parameters():
            p += 1
    step = 5
    m = cosine_momentum(method.hparams.momentum, step, method.scale.steps)
    method.after_step(step)
    for old, online, target in zip(before, method.projector.parameters(), method.target_projector.parameters(), strict=True):
        assert torch.allclose(target, m * old + (1 - m) * online, atol=1e-6)
    # batch statistics of the target are its own, made by its forward passes, not averaged
    assert not torch.equal(method.target_backbone.stem.bn.running_mean, torch.zeros(16))


def test_byol_momentum_starts_at_099_and_target_keys_are_fixed():
    assert METHODS["byol"].Hparams().momentum == 0.99
    prefixes = {key.split(".")[0] for key in build_method(small_config("byol"), 100).state_dict()}
    # checkpoints of existing runs hold these names
    assert prefixes == {"backbone", "projector", "predictor", "target_backbone", "target_projector"}
