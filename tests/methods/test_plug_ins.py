"""What a plug-in takes from its host: loss, hooks, and overrides of hyper-parameters."""

import dataclasses
import inspect

import pytest
import torch
from torch import Tensor

import backbones
from data.benchmark import BENCHMARKS
from data.loader import Batch
from methods import METHODS, Method, RunScale
from methods.bcl import BCL
from methods.colt import COLT
from methods.contrastive import Contrastive, Pairs, PlugIn
from methods.dcl import DCL, DCLW
from methods.focal import Focal
from methods.gh import GH
from methods.losses import info_nce, nt_xent
from methods.macl import MACL
from methods.simclr import SimCLR
from methods.tase import TASE
from training.config import default_hparams
from training.presets import PRESETS

B = 8
PLUG_INS = [name for name, method in METHODS if issubclass(method, PlugIn)]


class FixedNegatives(SimCLR):
    """A host with another contrastive loss: InfoNCE with constant negatives in place of NT-Xent."""

    decay_norm_and_bias = False

    def losses(self, pairs: Pairs) -> Tensor:
        queue = torch.eye(pairs.z1.shape[1], dtype=pairs.z1.dtype)
        return info_nce(pairs.z1, pairs.z2, queue, pairs.tau)


def _on_fixed_negatives(plug_in: type[PlugIn], **hparams) -> PlugIn:
    """`plug_in` on the host above, in double precision."""
    return _on(FixedNegatives, plug_in, **hparams)


def _on(host: type[Contrastive], plug_in: type[PlugIn], **hparams) -> PlugIn:
    """`plug_in` on a host, in double precision."""
    hyper_parameters = dataclasses.dataclass(frozen=True)(type("Hparams", (plug_in.Hparams, host.Hparams), {}))
    declared = type("Extended", (plug_in,), {"Host": host, "Hparams": hyper_parameters})
    torch.manual_seed(0)
    method = declared(declared.Hparams(**hparams), backbones.create("tiny-resnet8", 32), 64, RunScale(20, 4, 40))
    return method.double().train()


def _batch() -> Batch:
    torch.manual_seed(1)
    return Batch((torch.randn(B, 3, 16, 16).double(), torch.randn(B, 3, 16, 16).double()), torch.arange(B))


@pytest.mark.parametrize("plug_in", [BCL, COLT, GH, TASE])
def test_the_host_keeps_its_loss(plug_in):
    method, batch = _on_fixed_negatives(plug_in), _batch()
    observed = []
    method.host.observe = lambda index, losses: observed.append(losses)
    loss = method.loss(batch).loss
    z1, z2 = method.encode(batch.views)
    expected = info_nce(z1, z2, torch.eye(z1.shape[1], dtype=z1.dtype), 0.2)
    # buffers were made in float32: temperatures of TASE, memory of BCL
    assert loss.item() == pytest.approx(expected.mean().item(), abs=1e-6)
    assert torch.allclose(observed[0], expected.detach(), atol=1e-6)
    assert not torch.allclose(expected, nt_xent(z1, z2, 0.2))
    assert method.decay_norm_and_bias is False
    if plug_in is BCL:
        assert torch.allclose(method.memory[batch.index].double(), expected.detach(), atol=1e-6)


@pytest.mark.parametrize("plug_in", [BCL, COLT, GH, TASE])
@pytest.mark.parametrize("host", [Focal, DCL, DCLW, MACL])
def test_losses_of_pairs_are_hosts(host, plug_in):
    method, batch = _on(host, plug_in, temperature=0.2), _batch()
    z1, z2 = method.encode(batch.views)
    expected = method.host.losses(Pairs(z1, z2, 0.2, batch.index, 0)).mean()
    assert method.loss(batch).loss.item() == pytest.approx(expected.item(), abs=1e-6)  # temperatures of TASE in float32
    assert expected.item() != pytest.approx(nt_xent(z1, z2, 0.2).mean().item(), abs=1e-3)


def test_tase_passes_its_temperatures_to_the_hosts_loss():
    method, batch = _on_fixed_negatives(TASE, reweight="none"), _batch()
    method.temperature.uniform_(0.1, 0.4)
    z1, z2 = method.encode(batch.views)
    expected = info_nce(z1, z2, torch.eye(z1.shape[1], dtype=z1.dtype), method.temperature[batch.index])
    assert method.strength(3) == 1
    loss = method.loss(dataclasses.replace(batch, epoch=3)).loss
    assert loss.item() == pytest.approx(expected.mean().item(), abs=1e-10)


def test_a_host_that_overrides_the_objective_is_refused():
    declared = type("Extended", (BCL,), {"Host": COLT})
    with pytest.raises(TypeError, match="COLT cannot be a host: it overrides `objective`"):
        declared(COLT.Hparams(), backbones.create("tiny-resnet8", 32), 64, RunScale(20, 4, 40))


def test_every_hook_reaches_the_host():
    hooks = [name for name, member in vars(Method).items() if inspect.isfunction(member) or isinstance(member, property)]
    own = {"__init__", "loss", "objective", "build"}
    assert {"on_epoch_start", "after_step", "view_strength", "uses_labels"} <= set(hooks)
    assert [name for name in hooks if name not in own and name not in vars(PlugIn)] == []


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("dataset", BENCHMARKS.names())
@pytest.mark.parametrize("name", PLUG_INS)
def test_a_plug_in_takes_the_overrides_of_its_host(name, dataset, preset):
    plug_in = METHODS[name]
    found = default_hparams(name, dataset, preset)
    places = (dataset, PRESETS[preset].inherits, preset)
    own = {key for place in places for key in plug_in.overrides.get(place or "", {})}
    for key, value in dataclasses.asdict(default_hparams(plug_in.Host.name, dataset, preset)).items():
        if key in own:  # the preset's value decides, where both have one
            value = [plug_in.overrides[place][key] for place in places if key in plug_in.overrides.get(place or "", {})][-1]
        assert getattr(found, key) == value, key


@pytest.mark.parametrize("name", ["bcl-d", "sdclr+colt"])
def test_plug_ins_on_sdclr_have_its_published_settings(name):
    found = default_hparams(name, "imagenet100lt", "paper")
    assert (found.temperature, found.prune) == (0.3, 0.3)
    assert [default_hparams(name, dataset, "paper").prune for dataset in ("imagenetlt", "placeslt")] == [0.1, 0.1]
    assert default_hparams(name, "cifar10lt", "paper").prune == 0.9


def test_the_stack_has_the_hosts_first():
    assert [method.__name__ for method in METHODS["bcl+colt"].stack()] == ["SimCLR", "BCL", "BCLWithCOLT"]
    assert METHODS["simclr"].stack() == (SimCLR,)
