"""The reconstruction of TASE: its formulas, its stages, and what its switches leave of SimCLR."""

import dataclasses
import math

import pytest
import torch
from torch.nn import functional as F

from core.errors import UserError
from methods import METHODS, RunScale
from methods.clusters import Assignment
from methods.losses import nt_xent
from methods.tase import headness, temperatures, weights
from tests.runs import small_config
from training.loop import batches, start_epoch, step
from training.prepare import prepare

SIZES = torch.tensor([100.0, 40.0, 10.0, 5.0])
CLUSTER = torch.arange(4).repeat_interleave(SIZES.long())
ASSIGNED = Assignment(CLUSTER, SIZES, clusters=4, samples=len(CLUSTER))
OFF = {"reweight": "none", "tau_min": 0.2, "tau_max": 0.2}


def _training(name, images, labels=None, hparams=None, **recipe):
    return prepare(small_config(name, hparams=hparams, **recipe), images, torch.device("cpu"), labels=labels)


def _trace(name, images, hparams=None, epochs=4):
    """Losses of every step of a run."""
    training = _training(name, images, hparams=hparams, epochs=epochs)
    losses = []
    for epoch in range(epochs):
        start_epoch(training, epoch)
        training.method.train()
        for batch in batches(training, epoch):
            losses.append(step(training, batch, len(losses))[0].item())
    return losses


@pytest.mark.parametrize("hparams", [OFF, {"clusters": 1, "reweight": "none"}, {"aux_lambda": 0.0}])
def test_without_its_parts_it_is_simclr(hparams, photographs):
    # one cluster: headness 1/2 everywhere, and the geometric mean of 0.1 and 0.4 is SimCLR's temperature
    assert _trace("tase", photographs, hparams) == pytest.approx(_trace("simclr", photographs), abs=1e-5)


def test_before_the_warm_up_it_is_simclr_and_afterwards_not(photographs):
    plain, ours = _trace("simclr", photographs), _trace("tase", photographs, {"warmup": "2", "clusters": 4})
    steps = len(plain) // 4
    assert plain[: 2 * steps] == ours[: 2 * steps]
    assert plain[2 * steps :] != ours[2 * steps :]


@pytest.mark.parametrize("tau_map", ["loglin", "linear", "cosine"])
def test_temperature_rises_from_tail_to_head(tau_map):
    rank = headness(ASSIGNED)
    tau = temperatures(rank, 0.1, 0.4, tau_map)
    assert tau[0].item() == pytest.approx(0.4)
    assert tau[-1].item() == pytest.approx(0.1)
    assert (tau.diff() <= 0).all()
    # the second cluster by hand: log 40 between log 5 and log 100
    r = math.log(40 / 5) / math.log(100 / 5)
    by_hand = {"loglin": 0.1 * 4**r, "linear": 0.1 + 0.3 * r, "cosine": 0.1 + 0.3 * (1 - math.cos(math.pi * r)) / 2}
    assert tau[100].item() == pytest.approx(by_hand[tau_map], rel=1e-5)


def test_the_default_range_is_centred_on_simclrs_temperature():
    h = METHODS["tase"].Hparams()
    assert math.sqrt(h.tau_min * h.tau_max) == pytest.approx(h.temperature)
    assert temperatures(headness(Assignment(None, torch.full((3,), 7.0), 2, 3)), 0.1, 0.4, "loglin") == pytest.approx([0.2] * 3)


@pytest.mark.parametrize("reweight", ["effective", "inverse"])
def test_weights_fall_from_tail_to_head_and_have_mean_one(reweight):
    w = weights(ASSIGNED, reweight, 0.5)
    assert w.mean().item() == pytest.approx(1, abs=1e-6)
    assert (w.diff() >= 0).all()
    assert w[-1] > w[0]


def test_effective_number_against_the_formula():
    samples, clusters = len(CLUSTER), len(SIZES)
    beta = 1 - clusters / samples
    raw = [((1 - beta) / (1 - beta**n)) ** 0.5 for n in SIZES.tolist()]
    each = torch.tensor(raw)[CLUSTER]
    clipped = (each / each.mean()).clamp(0.2, 5)
    assert weights(ASSIGNED, "effective", 0.5) == pytest.approx((clipped / clipped.mean()).tolist(), rel=1e-5)


def test_soft_membership_mixes_headness():
    soft = Assignment(torch.tensor([0]), SIZES, 4, 1, soft=(torch.ones(1, 2), lambda x: torch.tensor([[0.5, 0, 0, 0.5]])))
    assert headness(soft).item() == pytest.approx(0.5)


def test_row_temperatures_against_a_loop_and_finite_differences():
    torch.manual_seed(0)
    z1, z2 = (torch.randn(5, 3, dtype=torch.float64, requires_grad=True) for _ in range(2))
    tau = torch.rand(5, dtype=torch.float64) * 0.4 + 0.1
    z = F.normalize(torch.cat([z1, z2]), dim=1).tolist()
    expected = []
    for i in range(5):
        anchors = []
        for a, p in ((i, i + 5), (i + 5, i)):
            s = [sum(x * y for x, y in zip(z[a], other, strict=True)) / tau[i].item() for other in z]
            anchors.append(-s[p] + math.log(sum(math.exp(s[j]) for j in range(10) if j != a)))
        expected.append(sum(anchors) / 2)
    assert nt_xent(z1, z2, tau).tolist() == pytest.approx(expected, rel=1e-12)
    assert torch.autograd.gradcheck(lambda a, b: nt_xent(a, b, tau), (z1, z2))
    order = torch.randperm(5)
    assert torch.allclose(nt_xent(z1[order], z2[order], tau[order]), nt_xent(z1, z2, tau)[order])


def test_grad_norm_and_weights_enter_the_loss_of_each_image(photographs):
    training = _training("tase", photographs, hparams={"grad_norm": "tau", "warmup": "0", "ramp": "0"})
    method = training.method
    method.temperature.uniform_(0.1, 0.4)
    method.weight.uniform_(0.5, 2)
    batch = next(iter(batches(training, 0)))
    method.eval()
    with torch.no_grad():
        own = method.temperature[batch.index]
        losses = nt_xent(*method.encode(batch.views), own)
        expected = (losses * own / 0.2 * method.weight[batch.index]).mean()
        output = method.loss(batch)
    assert output.loss.item() == pytest.approx(expected.item(), rel=1e-6)
    assert torch.equal(output.scores, -own)


def test_it_is_interpolated_over_the_ramp_and_oscillates():
    def strengths(**changes):
        method = METHODS["tase"].__new__(METHODS["tase"])
        torch.nn.Module.__init__(method)
        method.hparams = dataclasses.replace(small_hparams, **changes)
        method.scale = RunScale(samples=10, epochs=100, steps=100)
        return [method.strength(epoch) for epoch in range(100)]

    durations = METHODS["tase"].Hparams().warmup.__class__
    small_hparams = METHODS["tase"].Hparams(warmup=durations("10%"), ramp=durations("5"))
    plain = strengths()
    assert plain[:10] == [0] * 10
    assert plain[10:16] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1, 1])
    swinging = strengths(swing=durations("20"))
    assert swinging[19] == pytest.approx(1)
    assert swinging[29] == pytest.approx(0)


@pytest.mark.parametrize("clusterer", ["kmeans", "dec", "gh", "knn-density", "oracle", "random"])
@pytest.mark.parametrize("assignment", ["soft", "hard"])
def test_every_clusterer_gives_temperatures_and_weights(clusterer, assignment, photographs):
    labels = torch.arange(len(photographs)) % 7 % 3
    hparams = {"clusterer": clusterer, "assignment": assignment, "clusters": 5, "warmup": "0", "momentum": 0.0}
    training = _training("tase", photographs, labels, hparams)
    start_epoch(training, 0)
    method = training.method
    assert method.temperature.min() >= 0.1 - 1e-6
    assert method.temperature.max() <= 0.4 + 1e-6
    assert method.temperature.std() > 0
    assert method.weight.mean().item() == pytest.approx(1, abs=1e-5)
    assert (method.sample_state()["cluster"].min() >= 0) == (clusterer != "knn-density")
    if clusterer == "oracle":
        assert torch.equal(method.pseudo_label, labels)
        assert torch.equal(method.temperature[labels == 0].unique(), method.temperature.max()[None])
    if clusterer == "random":
        assert torch.equal(method.pseudo_label.bincount(), labels.bincount())
        assert not torch.equal(method.pseudo_label, labels)


def test_previous_temperatures_are_weighted_by_the_momentum(photographs):
    labels = (torch.arange(len(photographs)) % 7 == 0).long()
    training = _training("tase", photographs, labels, {"clusterer": "oracle", "warmup": "0", "momentum": 0.25}, epochs=3)
    start_epoch(training, 0)
    assert training.method.temperature.max().item() == pytest.approx(0.25 * 0.2 + 0.75 * 0.4)


@pytest.mark.parametrize("name", METHODS.names())
def test_only_the_two_ablations_get_labels(name, photographs):
    labels = torch.zeros(len(photographs), dtype=torch.int64)
    assert _training(name, photographs, labels).corpus.labels is None


def test_more_fixed_directions_than_dimensions_are_refused(photographs):
    with pytest.raises(UserError, match="allows at most 128 clusters, not 200"):
        _training("tase", photographs, hparams={"clusterer": "gh", "clusters": 200})
