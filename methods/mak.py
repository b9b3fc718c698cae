"""MAK: adds out-of-distribution (OOD) images that are tail-like, close to the training images, and diverse.

Jiang et al., NeurIPS 2021, arXiv:2111.01004 ("Model-Aware K-center"). Reference: VITA-Group/MAK @ 75d2b9f, `sampling.py`. An
image of the pool scores by its expected contrastive loss over augmentations, which is high for the tail, minus its distance to
the nearest cluster of the training images, both standardised. Greedy k-centre selects `budget` of the best images, away from
the training images and each other. The loss stays that of the host, over all images. A plug-in, registered on SimCLR.

Deviations: one run that samples once, after `warmup`, and goes on with all images (the reference trains a network on the
training images alone, and another one from scratch on all); the negatives of an image of the pool are from a random part of
the pool, in the same batches for all pairs of augmentations, so that memory does not grow with the pool.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from backbones.corpus import Corpus
from core.settings import setting
from methods.base import register
from methods.clusters import RESTARTS, spherical_kmeans
from methods.contrastive import PlugIn
from methods.schedules import Duration, check_warmup
from methods.selection import greedy_k_center, loss_in_batches, scores
from methods.simclr import SimCLR

BATCH, REPEATS = 512, 10  # images per batch of contrastive losses, and random divisions into batches, of the reference
PART = 8 * BATCH  # images of the pool whose embeddings are in memory
OVERRIDES: dict[str, dict[str, Any]] = {
    "digitslt": {"budget": 100},
    "cpu": {"budget": 1500, "inferences": 5},  # for speed; not tuned
    "smoke": {"budget": 100, "inferences": 2},
}


@dataclass(frozen=True)
class MAKSettings:
    """Defaults of the commands of VITA-Group/MAK, for ImageNet-100-LT."""

    pool: str = setting("auto", "source of the OOD images, see POOLS; auto: the preferred one of those available")
    budget: int = setting(10_000, "OOD images, at most the size of the pool", low=1)
    warmup: Duration = setting(Duration("50%"), "time before the sampling")
    inferences: int = setting(10, "augmentations of each image of the pool, over whose pairs its loss is averaged", low=2)
    clusters: int = setting(10, "number of k-means clusters of the training images", low=1)
    loss_weight: float = setting(0.5, "weight of the loss in the score; the distance has 1 - loss_weight", 0, 1)
    candidates: float = setting(1.5, "images with the best scores, as a multiple of budget, from which k-centre selects", low=1)


@register("mak", title="MAK", paper="Jiang et al., NeurIPS 2021, arXiv:2111.01004", overrides=OVERRIDES, suite=False)
class MAK(PlugIn):
    """SimCLR with OOD images sampled by model-aware k-centre."""

    Host = SimCLR

    @dataclass(frozen=True)
    class Hparams(MAKSettings, SimCLR.Hparams):
        """Hyper-parameters of SimCLR and MAK."""

    def extend(self, width: int) -> None:
        check_warmup(self.name, self.hparams.warmup, self.scale.epochs)
        self.register_buffer("selected", torch.zeros(self.hparams.budget, dtype=torch.int64))
        self.selected: Tensor

    def extra_images(self, epoch: int) -> int:
        return self.hparams.budget if epoch >= self.hparams.warmup.whole(self.scale.epochs) else 0

    def extra_selection(self) -> Tensor:
        return self.selected

    def on_epoch_start(self, epoch: int, corpus: Corpus) -> None:
        """Samples the pool in the first epoch after the warm-up. Raises ValueError if the run has no pool."""
        self.host.on_epoch_start(epoch, corpus)
        h = self.hparams
        if epoch != h.warmup.whole(self.scale.epochs):
            return
        if corpus.pool is None:
            raise ValueError("MAK needs a pool of OOD images, and this run was prepared without one")
        seeds = F.normalize(torch.cat(list(corpus.embed(self.backbone, corpus.images))), dim=1)
        _, centers = spherical_kmeans(seeds, min(h.clusters, len(seeds)), RESTARTS)
        # the pool is large: keep its distances, not its features
        features = corpus.embed(self.backbone, corpus.pool)
        distance = torch.cat([1 - (F.normalize(x, dim=1) @ centers.T).amax(dim=1) for x in features])
        score = scores(self._pool_losses(corpus, self.tau(epoch)), distance, h.loss_weight)
        best = score.topk(min(int(h.candidates * h.budget), len(score))).indices.sort().values
        candidates = F.normalize(torch.cat(list(corpus.embed(self.backbone, corpus.take(best)))), dim=1)
        self.selected.copy_(best[greedy_k_center(candidates, seeds, h.budget)])

    def _pool_losses(self, corpus: Corpus, tau: float) -> Tensor:
        """(M,) expected contrastive losses of the images of the pool, at the temperature `tau`."""
        assert corpus.pool is not None
        losses = torch.zeros(len(corpus.pool), device=self.selected.device)
        for part in torch.randperm(len(losses)).tensor_split(math.ceil(len(losses) / PART)):
            images = corpus.take(part)
            seeds = torch.randint(2**31, (self.hparams.inferences,)).tolist()
            views = [torch.cat(list(corpus.embed(self.project, images, augmented=s, weak=False))) for s in seeds]
            losses[part.to(losses.device)] = loss_in_batches(torch.stack(views), tau, BATCH, REPEATS).to(losses.dtype)
        return losses
