"""TASE: pseudo-labels give each image its own temperature and its own weight. A RECONSTRUCTION, not the authors' method.

Xiao et al., "Dataset Awareness is not Enough: Implementing Sample-level Tail Encouragement in Long-tailed Self-supervised
Learning", arXiv:2410.22883 v2.

What is established, from the abstracts: pseudo-labels enter a contrastive method with in-batch negatives; they drive a
temperature for each sample; a re-weighting borrowed from supervised long-tail learning supplies what temperature lacks, an
awareness of quantity. What is ours, because no equation, hyper-parameter, table or code of the paper could be had: how
pseudo-labels are found, how a temperature and a weight follow from them, all ranges, and when they are refreshed. That the
head takes the larger temperature is the direction of arXiv:2303.13664. No number made with this file is a number of the paper.

Every epoch e is one of three stages: before `warmup` plain SimCLR; then, every `refresh` epochs, clusters of the features in
place of classes, whose sizes say how much of the head each image is (`headness`); from it a temperature (`temperatures`) and a
weight (`weights`), which fade in over `ramp`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from backbones.corpus import Corpus
from core.errors import UserError
from core.settings import setting
from data.loader import Batch
from methods.base import Output, register
from methods.clusters import NONE, RESTARTS, local_density, simplex, spherical_kmeans, student_t_clusters
from methods.contrastive import PlugIn
from methods.schedules import LOWEST, Duration, check_warmup, due
from methods.simclr import SimCLR

Clusterer = Literal["kmeans", "dec", "gh", "knn-density", "oracle", "random"]
Map = Literal["loglin", "linear", "cosine"]
Reweighting = Literal["effective", "inverse", "none"]


@dataclass(frozen=True)
class TASESettings:
    """The switches of the reconstruction; every default is ours."""

    clusterer: Clusterer = setting(
        "kmeans", "pseudo-labels; oracle (true labels) and random (their sizes alone) are bounds for analysis, and see labels"
    )
    clusters: int = setting(100, "how many clusters", low=1)
    features: Literal["projector", "backbone"] = setting("projector", "whose output is clustered")
    assignment: Literal["soft", "hard"] = setting("soft", "whether an image belongs to all clusters by likeness, or to one")
    softness: float = setting(0.1, "temperature of the soft assignment", low=LOWEST)
    tau_min: float = setting(0.1, "temperature of the smallest cluster", low=LOWEST)
    tau_max: float = setting(0.4, "temperature of the largest cluster", low=LOWEST)
    tau_map: Map = setting("loglin", "how temperature follows from headness")
    momentum: float = setting(0.5, "share of its old temperature that an image keeps at a refresh", 0, 1)
    reweight: Reweighting = setting("effective", "weight by effective number of samples, by inverse size, or none")
    gamma: float = setting(0.5, "exponent of the weights", low=0)
    grad_norm: Literal["none", "tau"] = setting("none", "tau: undo the factor 1/tau that a temperature puts on the gradient")
    warmup: Duration = setting(Duration("10%"), "plain SimCLR until then")
    refresh: Duration = setting(Duration("1.25%"), "time between two clusterings, at least an epoch")
    ramp: Duration = setting(Duration("2.5%"), "time in which temperatures and weights fade in")
    swing: Duration = setting(Duration("0"), "period in which they fade in and out again and again; 0: they stay")
    aux_lambda: float = setting(1.0, "share of this loss, the rest being SimCLR's", 0, 1)


@register(
    "tase",
    title="TASE-R",
    paper="reconstruction after Xiao et al., arXiv:2410.22883",
    overrides={
        "cifar10lt": {"clusters": 10},
        "digitslt": {"clusters": 10},
        "cpu": {"refresh": "6%"},
        "smoke": {"warmup": "50%"},
    },
)
class TASE(PlugIn):
    """SimCLR whose every anchor has its own temperature and weight."""

    Host = SimCLR

    @dataclass(frozen=True)
    class Hparams(TASESettings, SimCLR.Hparams):
        """SimCLR's and the switches of the reconstruction."""

    def extend(self, width: int) -> None:
        h = self.hparams
        check_warmup(self.name, h.warmup, self.scale.epochs)
        room = width if h.features == "backbone" else h.out_dim
        if h.clusterer == "gh" and h.clusters > room:
            raise UserError(f"clusterer gh has room for {room} clusters, not for {h.clusters}; lower tase.clusters")
        if h.clusterer == "random":
            self.register_buffer("shuffle", torch.randperm(self.scale.samples))
        samples, tau = self.scale.samples, self.tau(0)
        self.register_buffer("temperature", torch.full((samples,), tau))
        self.register_buffer("weight", torch.ones(samples))
        self.register_buffer("pseudo_label", torch.full((samples,), NONE))
        self.temperature: Tensor
        self.weight: Tensor
        self.pseudo_label: Tensor

    @property
    def wants_labels(self) -> bool:
        """Only in the two ablations that bound what pseudo-labels can do."""
        return self.hparams.clusterer in ("oracle", "random")

    def on_epoch_start(self, epoch: int, corpus: Corpus) -> None:
        """Clusters all images again, where a refresh is due."""
        self.host.on_epoch_start(epoch, corpus)
        h = self.hparams
        if not due(epoch, self.scale.epochs, h.warmup, h.refresh):
            return
        membership, sizes = self._pseudo_labels(corpus)
        if membership is not None:
            self.pseudo_label.copy_(membership.argmax(dim=1))
        target = temperatures(headness(sizes, membership), h.tau_min, h.tau_max, h.tau_map)
        self.temperature.copy_(torch.lerp(target, self.temperature, h.momentum))
        self.weight.copy_(weights(sizes, membership, h.reweight, h.gamma))

    def _pseudo_labels(self, corpus: Corpus) -> tuple[Tensor | None, Tensor]:
        """(N, K) memberships and (K,) sizes of the clusters; None and (N,) sizes where each image is a cluster of its own."""
        h = self.hparams
        if corpus.labels is not None:
            labels = corpus.labels
            if h.clusterer == "random":
                labels = labels[self.get_buffer("shuffle")]
            membership = F.one_hot(labels).float()
            return membership, membership.sum(dim=0) + 1
        network = self.host.project if h.features == "projector" else self.backbone
        x = F.normalize(torch.cat(list(corpus.embed(network, corpus.images))), dim=1)
        count = min(h.clusters, len(x))
        if h.clusterer == "knn-density":
            density = (local_density(x) / h.softness).exp()
            return None, density * (len(x) / count / density.mean())
        if h.clusterer == "gh":
            likeness = x @ simplex(count, x.shape[1]).to(x.device).T / h.softness
            membership = likeness.softmax(dim=1)
        else:
            _, centers = spherical_kmeans(x, count, RESTARTS)
            membership = student_t_clusters(x, centers) if h.clusterer == "dec" else (x @ centers.T / h.softness).softmax(dim=1)
        hard = F.one_hot(membership.argmax(dim=1), count).float()
        sizes = hard.sum(dim=0) + 1  # one more each, so that an empty cluster has a size
        return (hard if h.assignment == "hard" else membership), sizes

    def strength(self, epoch: int) -> float:
        """How much of the temperatures and weights holds in an epoch (from 0), in [0, 1]."""
        h, run = self.hparams, self.scale.epochs
        since = epoch + 1 - h.warmup.whole(run)
        if since <= 0:
            return 0.0
        period = h.swing.epochs(run)
        swing = 0.5 * (1 - math.cos(2 * math.pi * since / period)) if period else 1.0
        return min(1.0, since / max(1.0, h.ramp.epochs(run))) * swing

    def loss(self, batch: Batch) -> Output:
        h, tau = self.hparams, self.tau(batch.epoch)
        share = self.strength(batch.epoch)
        own = torch.lerp(torch.full_like(self.temperature[batch.index], tau), self.temperature[batch.index], share)
        weight = 1 + share * (self.weight[batch.index] - 1)
        if h.grad_norm == "tau":
            weight = weight * own / tau
        pairs = self.pairs(batch)
        losses = self.losses(replace(pairs, tau=own))
        self.observe(batch.index, losses.detach())
        total = h.aux_lambda * (weight * losses).mean()
        if h.aux_lambda < 1:
            total = total + (1 - h.aux_lambda) * self.losses(pairs).mean()
        return Output(total, -self.temperature[batch.index])

    def sample_state(self) -> Mapping[str, Tensor]:
        """The host's, and clusters, temperatures and weights of all images."""
        own = {"cluster": self.pseudo_label, "temperature": self.temperature, "weight": self.weight}
        return {**self.host.sample_state(), **own}


def headness(sizes: Tensor, membership: Tensor | None) -> Tensor:
    """How much of the head each image is: log size of its clusters, from 0 for the smallest to 1 for the largest.

    Args:
        sizes: (K,) sizes above 0.
        membership: (N, K) rows summing to one, or None where sizes are those of the images.

    Returns:
        (N,) in [0, 1]; a half everywhere if all sizes are equal.
    """
    log = sizes.log()
    low, high = log.aminmax()
    rank = torch.where(high - low > 1e-9, (log - low) / (high - low + 1e-12), 0.5)
    return rank if membership is None else membership @ rank


def temperatures(headness: Tensor, tau_min: float, tau_max: float, tau_map: Map) -> Tensor:
    """(N,) temperatures: `tau_min` at headness 0, `tau_max` at 1, between them geometric, linear or by a half cosine."""
    if tau_map == "loglin":
        return tau_min ** (1 - headness) * tau_max**headness
    share = headness if tau_map == "linear" else 0.5 * (1 - torch.cos(math.pi * headness))
    return tau_min + (tau_max - tau_min) * share


def weights(sizes: Tensor, membership: Tensor | None, reweight: Reweighting, gamma: float) -> Tensor:
    """(N,) weights of mean 1, the larger the smaller an image's clusters are; at most five times up or down before that.

    `effective` divides by the effective number (1 - beta^n) / (1 - beta) of Cui et al. 2019 with beta = 1 - K / N.

    Args:
        sizes: (K,) sizes above 0, or (N,).
        membership: (N, K), or None where sizes are those of the images.
        reweight: by what.
        gamma: exponent, 0 for equal weights.
    """
    samples = len(sizes) if membership is None else len(membership)
    if reweight == "none":
        return torch.ones(samples, device=sizes.device)
    number = sizes
    if reweight == "effective":
        mean_size = sizes.mean() if membership is None else samples / len(sizes)
        beta = 1 - 1 / torch.as_tensor(mean_size, dtype=sizes.dtype, device=sizes.device).clamp(min=1 + 1e-6)
        number = (1 - beta**sizes) / (1 - beta)
    inverse = 1 / number if membership is None else membership @ (1 / number)
    raw = inverse**gamma
    clipped = (raw / raw.mean()).clamp(0.2, 5)
    return clipped / clipped.mean()
