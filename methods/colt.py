"""COLT: adds out-of-distribution (OOD) images that are sampled close to the tail in embedding space.

Bai et al., ICLR 2023, arXiv:2306.04934. Reference: JianhongBai/COLT @ 3c4507b. Every `interval` the embeddings of the training
images are clustered. Clusters whose images have a low softmax probability of their closest negatives (`confusion`) are taken
as tail and get most of the budget of OOD images: the images of the pool nearest to their centroids. A supervised contrastive
loss with the labels in-distribution and OOD (`distribution_loss`) separates the two. COLT is a plug-in, registered on SimCLR,
SDCLR and BCL.

Where paper and released code differ, this file follows the code: the distribution loss has all other views in its denominator
(`denominator=cross_domain`: the pair and the other domain). Deviations: warm-up and interval are fractions of the run (100 and
25 of 2000 epochs), because the ImageNet and Places scripts leave them unset; the whole pool is scored (the reference drops its
last batch); the largest probabilities are selected for the whole batch at once.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from backbones.corpus import Corpus
from core.settings import setting
from methods.base import Output, register
from methods.bcl import BCL
from methods.clusters import RESTARTS, UNASSIGNED, spherical_kmeans
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

    pool: str = setting("auto", "source of the OOD images, see POOLS; auto: the preferred one of those available")
    budget: int = setting(10_000, "OOD images per sampling, at most the size of the pool", low=1)
    warmup: Duration = setting(Duration("5%"), "time before the first sampling")
    interval: Duration = setting(Duration("1.25%"), "time between samplings, at least one epoch")
    clusters: int = setting(10, "number of k-means clusters of the training images", low=1)
    tau_c: float = setting(1.0, "temperature of the softmax over clusters that splits the budget", low=1e-6)
    k: int = setting(10, "number of closest negatives whose probabilities add up to an image's confusion", low=1)
    beta: float = setting(0.97, "decay of the moving average of each image's confusion", 0, 0.9999)
    alpha: float = setting(0.2, "weight of the distribution loss", low=0)
    denominator: Denominator = setting(
        "all", "denominator of the distribution loss: all views (released code) or cross_domain (paper)"
    )


@register("colt", title="COLT", paper=PAPER, overrides=OVERRIDES)
class COLT(PlugIn):
    """SimCLR with OOD images sampled close to the tail."""

    Host: ClassVar[type[Contrastive]] = SimCLR

    @dataclass(frozen=True)
    class Hparams(COLTSettings, SimCLR.Hparams):
        """Hyper-parameters of SimCLR and COLT."""

    def extend(self, width: int) -> None:
        h = self.hparams
        check_warmup(self.name, h.warmup, self.scale.epochs)
        self.memory = SampleMemory(self.scale.samples, h.beta)
        self.register_buffer("selected", torch.zeros(h.budget, dtype=torch.int64))
        self.register_buffer("cluster", torch.full((self.scale.samples,), UNASSIGNED))
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
        """Clusters the training images and samples the pool, if a sampling is due in this epoch.

        Raises ValueError if the run has no pool.
        """
        self.host.on_epoch_start(epoch, corpus)
        h = self.hparams
        if not due(epoch, self.scale.epochs, h.warmup, h.interval):
            return
        if corpus.pool is None:
            raise ValueError("COLT needs a pool of OOD images, and this run was prepared without one")
        x = F.normalize(torch.cat(list(corpus.embed(self.project, corpus.images))), dim=1)
        labels, centers = spherical_kmeans(x, min(h.clusters, len(x)), RESTARTS)
        # the pool is large: keep its similarities to the centroids, not its embeddings
        similarity = torch.cat([F.normalize(z, dim=1) @ centers.T for z in corpus.embed(self.project, corpus.pool)])
        self.cluster.copy_(labels)
        # a GPU sums in any order, and budgets are rounded down
        average, labels = self.memory.all_or_mean(), labels.cpu()
        budgets = cluster_budgets(average, labels, len(centers), h.budget, h.tau_c)
        self.sampled[: len(centers)] = budgets
        self.tailness[: len(centers)] = cluster_tailness(average, labels, len(centers))
        self.selected.copy_(nearest_to_centers(similarity, budgets))

    def objective(self, embeddings: tuple[Tensor, ...], index: Tensor, epoch: int) -> Output:
        """The host's loss over all images plus, after the warm-up, the distribution loss; the tail score is minus confusion."""
        h, pairs = self.hparams, self.pairs(embeddings, index, epoch)
        losses = self.losses(pairs)
        loss = losses.mean()
        if self.extra_images(epoch):
            loss = loss + h.alpha * distribution_loss(*pairs.log_probabilities, index < 0, h.denominator)
        self.observe(index, losses.detach())
        self.memory.update(index, confusion(pairs.log_probabilities[1], h.k))
        return Output(loss, -self.memory[index])

    def sample_state(self) -> Mapping[str, Tensor]:
        """The host's, and of each image's cluster in the last sampling: number, sampled OOD images and tailness."""
        of_cluster = {"sampled": self.sampled[self.cluster], "tailness": self.tailness[self.cluster]}
        return {**self.host.sample_state(), "cluster": self.cluster, **of_cluster}


@register("sdclr+colt", title="SDCLR+COLT", paper=PAPER, overrides=OVERRIDES, suite=False)
class SDCLRWithCOLT(COLT):
    """SDCLR with OOD images sampled close to the tail."""

    Host = SDCLR

    @dataclass(frozen=True)
    class Hparams(COLTSettings, SDCLR.Hparams):
        """Hyper-parameters of SDCLR and COLT."""


@register("bcl+colt", title="BCL+COLT", paper=PAPER, overrides=OVERRIDES, suite=False)
class BCLWithCOLT(COLT):
    """BCL with OOD images sampled close to the tail; OOD images have no loss average and so augmentation strength 0."""

    Host = BCL

    @dataclass(frozen=True)
    class Hparams(COLTSettings, BCL.Hparams):
        """Hyper-parameters of BCL and COLT."""


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
    """OOD images per cluster: softmax of `cluster_tailness` times the budget, rounded down; the last cluster gets the rest.

    Args:
        confusion: (N,) average confusion of the training images.
        labels: (N,) their clusters.
        clusters: number of clusters C.
        budget: total number of OOD images.
        tau_c: temperature of the softmax.

    Returns:
        (C,) int64 that sum to `budget`.
    """
    tailness = cluster_tailness(confusion, labels, clusters)
    budgets = ((tailness / tau_c).softmax(dim=0) * budget).floor().long()
    budgets[-1] += budget - budgets.sum()
    return budgets


def cluster_tailness(confusion: Tensor, labels: Tensor, clusters: int) -> Tensor:
    """(C,) negated mean of the (N,) confusion in each cluster, standardised over the clusters; high for the tail."""
    sums = confusion.new_zeros(clusters).index_add_(0, labels, confusion)
    mean = sums / labels.bincount(minlength=clusters).clamp(min=1)
    spread = mean.std() if clusters > 1 else mean.new_zeros(())
    return -(mean - mean.mean()) / spread.clamp(min=1e-12)


def nearest_to_centers(similarity: Tensor, budgets: Tensor) -> Tensor:
    """For one cluster after another, the images of the pool nearest to its centroid that are not selected yet.

    Args:
        similarity: (M, C) cosine similarities of the pool's images and the centroids; overwritten.
        budgets: (C,) images per cluster, at most M in total.

    Returns:
        (K,) unique positions in the pool, ordered by cluster and then from the nearest to the farthest.
    """
    chosen = []
    for cluster, budget in enumerate(budgets.tolist()):
        nearest = similarity[:, cluster].topk(budget).indices
        similarity[nearest] = -torch.inf
        chosen.append(nearest)
    return torch.cat(chosen)


def _fill_in(colt: COLT, state: dict[str, Any], prefix: str, *_: object) -> None:
    """Completes weights saved before these two buffers existed; only the analysis reads them."""
    for name in ("sampled", "tailness"):
        state.setdefault(prefix + name, colt.get_buffer(name))
