"""TASE: per-image temperatures and loss weights from pseudo-labels. A RECONSTRUCTION, not the authors' method.

Xiao et al., "Dataset Awareness is not Enough: Implementing Sample-level Tail Encouragement in Long-tailed Self-supervised
Learning", arXiv:2410.22883 v2.

Established by the abstracts: pseudo-labels are introduced into a contrastive method with in-batch negatives; they determine a
temperature for each sample; a re-weighting from supervised long-tailed learning adds the awareness of quantity that
temperatures lack. Our choices, as no equation, hyper-parameter, table or code of the paper was available: the clustering, the
functions from pseudo-labels to temperatures and weights, all ranges, and the times of refreshes. The larger temperature for
the head follows arXiv:2303.13664. Results of this file are not results of the paper.

Until `warmup` the method is SimCLR. Then, every `refresh`, all images are clustered; the sizes of an image's clusters give its
`headness`, from which follow its temperature (`temperatures`) and its weight (`weights`). Both are interpolated from SimCLR's
over the time `ramp`.
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
from methods.base import Output, register
from methods.clusters import (
    RESTARTS,
    UNASSIGNED,
    Assignment,
    hard_assignment,
    local_density,
    simplex,
    soft_assignment,
    softmax_membership,
    spherical_kmeans,
    student_t_membership,
)
from methods.contrastive import PlugIn
from methods.schedules import MIN_TEMPERATURE, Duration, check_warmup, due
from methods.simclr import SimCLR

Clusterer = Literal["kmeans", "dec", "gh", "knn-density", "oracle", "random"]
Map = Literal["loglin", "linear", "cosine"]
Reweighting = Literal["effective", "inverse", "none"]


@dataclass(frozen=True)
class TASESettings:
    """Hyper-parameters of the reconstruction; all defaults are our choices."""

    clusterer: Clusterer = setting(
        "kmeans",
        "source of pseudo-labels; oracle (true labels) and random (permuted true labels) are ablations that use labels",
    )
    clusters: int = setting(100, "number of clusters", low=1)
    features: Literal["projector", "backbone"] = setting("projector", "network whose output is clustered")
    assignment: Literal["soft", "hard"] = setting(
        "soft", "soft: to all clusters, by similarity to their centroids; hard: to the nearest"
    )
    softness: float = setting(0.1, "temperature of the soft assignment", low=MIN_TEMPERATURE)
    tau_min: float = setting(0.1, "temperature of the smallest cluster", low=MIN_TEMPERATURE)
    tau_max: float = setting(0.4, "temperature of the largest cluster", low=MIN_TEMPERATURE)
    tau_map: Map = setting("loglin", "interpolation from tau_min to tau_max by headness")
    momentum: float = setting(0.5, "weight of an image's previous temperature at a refresh", 0, 1)
    reweight: Reweighting = setting(
        "effective", "loss weights: by the effective number of samples, by inverse cluster size, or none"
    )
    gamma: float = setting(0.5, "exponent of the weights", low=0)
    grad_norm: Literal["none", "tau"] = setting(
        "none", "tau: multiply losses by tau / temperature, which cancels the factor 1 / tau of the gradient"
    )
    warmup: Duration = setting(Duration("10%"), "time of plain SimCLR before the first clustering")
    refresh: Duration = setting(Duration("1.25%"), "time between clusterings, at least one epoch")
    ramp: Duration = setting(Duration("2.5%"), "time over which temperatures and weights are interpolated from SimCLR's")
    swing: Duration = setting(Duration("0"), "period of a cosine oscillation between SimCLR's values and theirs; 0: none")
    aux_lambda: float = setting(1.0, "weight of this loss; SimCLR's has 1 - aux_lambda", 0, 1)


@register(
    "tase",
    title="TASE-R",
    paper="reconstruction after Xiao et al., arXiv:2410.22883",
    overrides={
        "cifar10lt": {"clusters": 10},
        "digitslt": {"clusters": 10},
        "cpu": {"refresh": "6%", "temperature": 0.2, "tau_max": 0.25},  # tuned for this preset: docs/cpu_preset.md
        "smoke": {"warmup": "50%"},
    },
)
class TASE(PlugIn):
    """SimCLR with a temperature and a loss weight per image."""

    Host = SimCLR
    fixed = ("shuffle",)

    @dataclass(frozen=True)
    class Hparams(TASESettings, SimCLR.Hparams):
        """Hyper-parameters of SimCLR and the reconstruction."""

    def extend(self, width: int) -> None:
        h = self.hparams
        check_warmup(self.name, h.warmup, self.scale.epochs)
        dimension = width if h.features == "backbone" else h.out_dim
        if h.clusterer == "gh" and h.clusters > dimension:
            raise UserError(f"clusterer gh allows at most {dimension} clusters, not {h.clusters}; lower {self.name}.clusters")
        if h.clusterer == "random":
            self.register_buffer("shuffle", torch.randperm(self.scale.samples))
        samples, tau = self.scale.samples, self.tau(0)
        self.register_buffer("temperature", torch.full((samples,), tau))
        self.register_buffer("weight", torch.ones(samples))
        self.register_buffer("pseudo_label", torch.full((samples,), UNASSIGNED))
        self.temperature: Tensor
        self.weight: Tensor
        self.pseudo_label: Tensor

    @property
    def uses_labels(self) -> bool:
        """True for the two ablations that bound the quality of pseudo-labels."""
        return self.hparams.clusterer in ("oracle", "random")

    def on_epoch_start(self, epoch: int, corpus: Corpus) -> None:
        """Clusters all images and updates temperatures and weights, if a refresh is due in this epoch."""
        self.host.on_epoch_start(epoch, corpus)
        h = self.hparams
        if not due(epoch, self.scale.epochs, h.warmup, h.refresh):
            return
        found = self._assignment(corpus)
        if found.labels is not None:
            self.pseudo_label.copy_(found.labels)
        target = temperatures(headness(found), h.tau_min, h.tau_max, h.tau_map)
        self.temperature.copy_(torch.lerp(target, self.temperature, h.momentum))
        self.weight.copy_(weights(found, h.reweight, h.gamma))

    def _assignment(self, corpus: Corpus) -> Assignment:
        """The images' clusters; without clusters, but one size per image, for `knn-density`."""
        h = self.hparams
        if corpus.labels is not None:
            labels = corpus.labels[self.get_buffer("shuffle")] if h.clusterer == "random" else corpus.labels
            return hard_assignment(labels, int(labels.max()) + 1)
        network = self.host.project if h.features == "projector" else self.backbone
        x = F.normalize(torch.cat(list(corpus.embed(network, corpus.images))), dim=1)
        count = min(h.clusters, len(x))
        if h.clusterer == "knn-density":
            density = (local_density(x) / h.softness).exp()
            return Assignment(None, density * (len(x) / count / density.mean()), count, len(x))
        if h.clusterer == "gh":
            membership = softmax_membership(simplex(count, x.shape[1]).to(x.device), h.softness)
        else:
            _, centers = spherical_kmeans(x, count, RESTARTS)
            dec = h.clusterer == "dec"
            membership = student_t_membership(x, centers) if dec else softmax_membership(centers, h.softness)
        found = soft_assignment(x, count, membership)
        return replace(found, soft=None) if h.assignment == "hard" else found

    def strength(self, epoch: int) -> float:
        """Interpolation in epoch `epoch` (from 0) between SimCLR (0) and the temperatures and weights of this method (1)."""
        h, run = self.hparams, self.scale.epochs
        since = epoch + 1 - h.warmup.whole(run)
        if since <= 0:
            return 0.0
        period = h.swing.epochs(run)
        swing = 0.5 * (1 - math.cos(2 * math.pi * since / period)) if period else 1.0
        return min(1.0, since / max(1.0, h.ramp.epochs(run))) * swing

    def objective(self, embeddings: tuple[Tensor, ...], index: Tensor, epoch: int) -> Output:
        h, tau = self.hparams, self.tau(epoch)
        share = self.strength(epoch)
        own = torch.lerp(torch.full_like(self.temperature[index], tau), self.temperature[index], share)
        weight = 1 + share * (self.weight[index] - 1)
        if h.grad_norm == "tau":
            weight = weight * own / tau
        pairs = self.pairs(embeddings, index, epoch)
        losses = self.losses(replace(pairs, tau=own))
        self.observe(index, losses.detach())
        total = h.aux_lambda * (weight * losses).mean()
        if h.aux_lambda < 1:
            total = total + (1 - h.aux_lambda) * self.losses(pairs).mean()
        return Output(total, -self.temperature[index])

    def sample_state(self) -> Mapping[str, Tensor]:
        """The host's, and the cluster, temperature and weight of each image."""
        own = {"cluster": self.pseudo_label, "temperature": self.temperature, "weight": self.weight}
        return {**self.host.sample_state(), **own}


def headness(assignment: Assignment) -> Tensor:
    """(N,) log size of each image's clusters, scaled to 0 for the smallest cluster and 1 for the largest.

    0.5 if all sizes are equal.
    """
    log = assignment.sizes.log()
    low, high = log.aminmax()
    return assignment.mean(torch.where(high - low > 1e-9, (log - low) / (high - low + 1e-12), 0.5))


def temperatures(headness: Tensor, tau_min: float, tau_max: float, tau_map: Map) -> Tensor:
    """(N,) temperatures: `tau_min` at headness 0, `tau_max` at 1, with log-linear, linear or half-cosine interpolation."""
    if tau_map == "loglin":
        return tau_min ** (1 - headness) * tau_max**headness
    share = headness if tau_map == "linear" else 0.5 * (1 - torch.cos(math.pi * headness))
    return tau_min + (tau_max - tau_min) * share


def weights(assignment: Assignment, reweight: Reweighting, gamma: float) -> Tensor:
    """(N,) loss weights of mean 1, decreasing in cluster size.

    (sum_k q_ik / E(n_k))^gamma with q the membership, divided by its mean, clipped to [0.2, 5] and divided by its mean again.
    `effective`: E(n) = (1 - beta^n) / (1 - beta) of Cui et al. 2019 with beta = 1 - K / N; `inverse`: E(n) = n.

    Args:
        assignment: of N images to K clusters.
        reweight: `effective`, `inverse` or `none`.
        gamma: exponent; 0 for equal weights.
    """
    number = assignment.sizes
    if reweight == "none":
        return torch.ones(assignment.samples, device=number.device)
    if reweight == "effective":
        mean_size = torch.tensor(assignment.samples / assignment.clusters, dtype=number.dtype, device=number.device)
        beta = 1 - 1 / mean_size.clamp(min=1 + 1e-6)
        number = (1 - beta**number) / (1 - beta)
    raw = assignment.mean(1 / number) ** gamma
    clipped = (raw / raw.mean()).clamp(0.2, 5)
    return clipped / clipped.mean()
