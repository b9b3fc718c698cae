"""COLT: images from elsewhere, drawn again and again from near the tail, give the tail's part of the sphere more support.

Bai et al., ICLR 2023, arXiv:2306.04934. Reference: JianhongBai/COLT @ 3c4507b. Every `interval` the training images are
clustered by their embeddings; clusters whose images are seldom confused with close negatives count as tail and get most of
the budget of out-of-distribution (OOD) images, each the nearest of the pool to a centre. A supervised contrastive term with
the two labels "ours" and "from elsewhere" keeps the two distributions apart. COLT is a plug-in: here on SimCLR, SDCLR, BCL.

The released code decides where paper and code differ: the distribution term has all other views in its denominator
(`denominator=cross_domain` has only the pair and the other domain). Departures: warm-up and interval are shares of the run
(100 and 25 of 2000 epochs), as the ImageNet and Places scripts leave them unset; the whole pool is scored (the reference
drops its last batch); the top of the sorted probabilities is taken at once and not image by image.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from backbones.corpus import Corpus
from core.settings import setting
from data.loader import Batch
from methods.base import Output, register
from methods.bcl import BCL
from methods.clusters import NONE, RESTARTS, spherical_kmeans
from methods.contrastive import Contrastive, PlugIn
from methods.memory import SampleMemory
from methods.schedules import Duration, check_warmup, due
from methods.sdclr import SDCLR
from methods.simclr import SimCLR

Denominator = Literal["all", "cross_domain"]
OVERRIDES: dict[str, dict[str, Any]] = {
    **{name: {"alpha": 0.01, "interval": "5%"} for name in ("imagenet100lt", "imagenetlt", "placeslt", "inat18")},
    "digitslt": {"budget": 100},
    "cpu": {"budget": 1500, "interval": "10%"},
    "smoke": {"budget": 100, "warmup": "50%", "interval": "50%"},
}
PAPER = "Bai et al., ICLR 2023, arXiv:2306.04934"


@dataclass(frozen=True)
class COLTSettings:
    """Defaults of the CIFAR-100 command of JianhongBai/COLT."""

    pool: str = setting("auto", "where OOD images come from: see POOLS; auto: the best that is there")
    budget: int = setting(10_000, "OOD images sampled at a time, at most the pool's", low=1)
    warmup: Duration = setting(Duration("5%"), "time before the first sampling")
    interval: Duration = setting(Duration("1.25%"), "time between two samplings, at least an epoch")
    clusters: int = setting(10, "clusters of the training images", low=1)
    tau_c: float = setting(1.0, "temperature at which tail clusters share the budget", low=1e-6)
    k: int = setting(10, "closest negatives whose probabilities are an image's confusion", low=1)
    beta: float = setting(0.97, "decay of each image's average confusion", 0, 0.9999)
    alpha: float = setting(0.2, "weight of the distribution term", low=0)
    denominator: Denominator = setting(
        "all", "what the distribution term contrasts with: the code's all, the paper's cross_domain"
    )


@register("colt", title="COLT", paper=PAPER, overrides=OVERRIDES)
class COLT(PlugIn):
    """SimCLR with images sampled from a pool near its tail."""

    Host: ClassVar[type[Contrastive]] = SimCLR

    @dataclass(frozen=True)
    class Hparams(COLTSettings, SimCLR.Hparams):
        """SimCLR's and COLT's."""

    def extend(self, width: int) -> None:
        h = self.hparams
        check_warmup(self.name, h.warmup, self.scale.epochs)
        self.memory = SampleMemory(self.scale.samples, h.beta)
        self.register_buffer("selected", torch.zeros(h.budget, dtype=torch.int64))
        self.register_buffer("cluster", torch.full((self.scale.samples,), NONE))
        self.register_buffer("sampled", torch.zeros(h.clusters, dtype=torch.int64))
        self.register_buffer("tailness", torch.zeros(h.clusters))
        self.register_load_state_dict_pre_hook(_fill_in)
        self.selected: Tensor
        self.cluster: Tensor
        self.sampled: Tensor
        self.tailness: Tensor

    def extra_images(self, epoch: int) -> int:
        return self.hparams.budget if epoch >= self.hparams.warmup.whole(self.scale.epochs) else 0

    def extra_selection(self) -> Tensor:
        return self.selected

    def on_epoch_start(self, epoch: int, corpus: Corpus) -> None:
        """Samples the pool anew, where that is due."""
        self.host.on_epoch_start(epoch, corpus)
        h = self.hparams
        if not due(epoch, self.scale.epochs, h.warmup, h.interval):
            return
        if corpus.pool is None:
            raise ValueError("COLT samples from a pool, and this run was prepared without one")
        x = F.normalize(torch.cat(list(corpus.embed(self.project, corpus.images))), dim=1)
        labels, centers = spherical_kmeans(x, min(h.clusters, len(x)), RESTARTS)
        # of each image in the pool only its likeness to the centres is kept
        likeness = torch.cat([F.normalize(z, dim=1) @ centers.T for z in corpus.embed(self.project, corpus.pool)])
        average = self.memory.all()
        budgets = cluster_budgets(average, labels, len(centers), h.budget, h.tau_c)
        self.cluster.copy_(labels)
        self.sampled[: len(centers)] = budgets
        self.tailness[: len(centers)] = cluster_tailness(average, labels, len(centers))
        self.selected.copy_(nearest_to_centers(likeness, budgets))

    def loss(self, batch: Batch) -> Output:
        """NT-Xent over all images and, where some are from elsewhere, the distribution term; tail score: minus confusion."""
        h, pairs = self.hparams, self.pairs(batch)
        losses = self.losses(pairs)
        loss = losses.mean()
        if self.extra_images(batch.epoch):
            loss = loss + h.alpha * distribution_loss(*pairs.log_probabilities, batch.index < 0, h.denominator)
        self.observe(batch.index, losses.detach())
        self.memory.update(batch.index, confusion(pairs.log_probabilities[1], h.k))
        return Output(loss, -self.memory[batch.index])

    def sample_state(self) -> Mapping[str, Tensor]:
        """The host's, and of an image's cluster in the last sampling: its number, the images it got, its tailness."""
        of_cluster = {"sampled": self.sampled[self.cluster], "tailness": self.tailness[self.cluster]}
        return {**self.host.sample_state(), "cluster": self.cluster, **of_cluster}


@register("sdclr+colt", title="SDCLR+COLT", paper=PAPER, overrides=OVERRIDES, suite=False)
class SDCLRWithCOLT(COLT):
    """SDCLR with images sampled from a pool near its tail."""

    Host = SDCLR

    @dataclass(frozen=True)
    class Hparams(COLTSettings, SDCLR.Hparams):
        """SDCLR's and COLT's."""


@register("bcl+colt", title="BCL+COLT", paper=PAPER, overrides=OVERRIDES, suite=False)
class BCLWithCOLT(COLT):
    """BCL with images sampled from a pool near its tail; those get no stronger views, as nothing is remembered of them."""

    Host = BCL

    @dataclass(frozen=True)
    class Hparams(COLTSettings, BCL.Hparams):
        """BCL's and COLT's."""


def distribution_loss(similarity: Tensor, log_p: Tensor, is_ood: Tensor, denominator: Denominator = "all") -> Tensor:
    """Supervised contrastive loss with the labels in-distribution and OOD; 0 for a batch without OOD images.

    JianhongBai/COLT, `utils.py`, `nt_xent`.

    Args:
        similarity: (2B, 2B) cosines over the temperature, of `methods.losses.log_probabilities`.
        log_p: (2B, 2B) their log-softmax.
        is_ood: (B,) bool.
        denominator: `all` other views, or only the pair and the views of the other domain.

    Returns:
        Scalar: mean over the 2B anchors.
    """
    domain = is_ood.repeat(2)
    same = (domain[:, None] == domain).fill_diagonal_(False)
    if denominator == "cross_domain":
        other = torch.where(domain[:, None] != domain, similarity, -torch.inf).logsumexp(dim=1, keepdim=True)
        log_pair = similarity - torch.logaddexp(similarity, other)
    else:
        log_pair = log_p
    attraction = torch.where(same, log_pair, 0.0).sum(dim=1) / same.sum(dim=1)
    return torch.where(is_ood.any(), -attraction.mean(), 0.0)


@torch.no_grad()
def confusion(log_p: Tensor, k: int) -> Tensor:
    """Sum of the `k` largest softmax probabilities of negatives, averaged over both anchors of an image; low for the tail.

    Args:
        log_p: (2B, 2B) of `methods.losses.log_probabilities`.
        k: negatives that count.

    Returns:
        (B,) in [0, 1].
    """
    B = len(log_p) // 2
    p = log_p.exp().view(2, B, 2 * B).mean(dim=0)
    for own in p.split(B, dim=1):
        own.fill_diagonal_(0)  # the image's own two views
    return p.topk(min(k, 2 * B), dim=1).values.sum(dim=1)


def cluster_budgets(confusion: Tensor, labels: Tensor, clusters: int, budget: int, tau_c: float) -> Tensor:
    """How many OOD images each cluster gets: softmax of its standardised tailness, rounded down, the rest to the last.

    Args:
        confusion: (N,) average confusion of the training images.
        labels: (N,) their clusters.
        clusters: C.
        budget: images in all.
        tau_c: temperature of the softmax.

    Returns:
        (C,) int64 that sum to `budget`.
    """
    tailness = cluster_tailness(confusion, labels, clusters)
    budgets = ((tailness / tau_c).softmax(dim=0) * budget).floor().long()
    budgets[-1] += budget - budgets.sum()
    return budgets


def cluster_tailness(confusion: Tensor, labels: Tensor, clusters: int) -> Tensor:
    """(C,) minus the mean (N,) confusion of each cluster's images, standardised over the clusters; high for the tail."""
    sums = confusion.new_zeros(clusters).index_add_(0, labels, confusion)
    mean = sums / labels.bincount(minlength=clusters).clamp(min=1)
    spread = mean.std() if clusters > 1 else mean.new_zeros(())
    return -(mean - mean.mean()) / spread.clamp(min=1e-12)


def nearest_to_centers(likeness: Tensor, budgets: Tensor) -> Tensor:
    """For each cluster in turn, its budget of the images that are most like its centre and not yet taken.

    Args:
        likeness: (M, C) cosines of the pool's images with the centres; overwritten.
        budgets: (C,) summing to at most M.

    Returns:
        (K,) positions in the pool, each once: clusters in order, nearest first.
    """
    chosen = []
    for cluster, budget in enumerate(budgets.tolist()):
        nearest = likeness[:, cluster].topk(budget).indices
        likeness[nearest] = -torch.inf
        chosen.append(nearest)
    return torch.cat(chosen)


def _fill_in(colt: COLT, state: dict[str, Any], prefix: str, *_: object) -> None:
    """Weights of before the number of sampled images was kept lack it; it serves analysis alone."""
    for name in ("sampled", "tailness"):
        state.setdefault(prefix + name, colt.get_buffer(name))
