"""GH: pulls embeddings towards equiangular directions in proportion to the estimated number of images of each.

Zhou et al., NeurIPS 2023, arXiv:2310.17622 ("Geometric Harmonization"). Reference: MediaBrain-SJTU/Geometric-Harmonization @
9f7057c. A moving average of each image's cosines to K fixed directions assigns it to one; the shares of the directions are the
class prior. After `warmup`, Sinkhorn iterations turn the cosines of a view into soft labels whose batch averages are that
prior, and the other view predicts them. The tail score is minus the prior of the image's direction, as few images suggest a
rare class. A plug-in, registered on SimCLR, and in `methods/gh_on_hosts.py` on Focal, SDCLR and BCL. Deviations: one
learning-rate schedule (the reference restarts it after the warm-up); on CIFAR the prior is estimated between epochs, not in
each step of every twentieth; on large sets the averages start in the first epoch, not the tenth.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from backbones.corpus import Corpus
from core.errors import UserError
from core.settings import setting
from methods.base import Output, register
from methods.clusters import UNASSIGNED, simplex, sinkhorn
from methods.contrastive import Contrastive, PlugIn
from methods.memory import SampleMemory
from methods.schedules import Duration, check_warmup, due
from methods.simclr import SimCLR

LARGE: dict[str, Any] = {"warmup": "80%", "ramp": "6%", "refresh": "4%", "smoothing": 100}  # 400, 30, 20 of 500 epochs
OVERRIDES = dict.fromkeys(("imagenet100lt", "imagenetlt", "placeslt", "inat18"), LARGE)
PAPER = "Zhou et al., NeurIPS 2023, arXiv:2310.17622"


@dataclass(frozen=True)
class GHSettings:
    """Defaults of the CIFAR-100 command of the reference, with 500, 10 and 20 of 1000 epochs."""

    directions: int = setting(100, "number of directions K, at most out_dim", low=2)
    warmup: Duration = setting(Duration("50%"), "time before the first estimate of the prior and the additional loss")
    ramp: Duration = setting(Duration("1%"), "time over which the weight of the additional loss rises to 1")
    refresh: Duration = setting(Duration("2%"), "time between estimates of the prior, at least one epoch")
    iterations: int = setting(300, "Sinkhorn iterations", low=1)
    early_beta: float = setting(0.9, "decay of the moving averages of cosines in the warm-up", 0, 0.9999)
    beta: float = setting(0.999, "decay of the moving averages of cosines after the warm-up", 0, 0.9999)
    smoothing: int = setting(0, "images added to each direction in the estimate of the prior", low=0)


@register("gh", title="GH", paper=PAPER, overrides=OVERRIDES, suite=False)
class GH(PlugIn):
    """SimCLR with geometric harmonization."""

    Host: ClassVar[type[Contrastive]] = SimCLR
    fixed = ("targets",)

    @dataclass(frozen=True)
    class Hparams(GHSettings, SimCLR.Hparams):
        """Hyper-parameters of SimCLR and GH."""

    def extend(self, width: int) -> None:
        h, d = self.hparams, self.hparams.out_dim
        check_warmup(self.name, h.warmup, self.scale.epochs)
        if h.directions > d:
            raise UserError(f"{self.name}.directions is {h.directions}, above {self.name}.out_dim, which is {d}; lower it")
        self.register_buffer("targets", simplex(h.directions, d) @ nn.init.orthogonal_(torch.empty(d, d)))
        self.register_buffer("prior", torch.full((h.directions,), 1 / h.directions))
        self.memory = SampleMemory(self.scale.samples, h.beta, (h.directions,))
        self.targets: Tensor
        self.prior: Tensor

    def on_epoch_start(self, epoch: int, corpus: Corpus) -> None:
        """Estimates the prior from the images with a direction, if that is due in this epoch; without one it stays uniform."""
        self.host.on_epoch_start(epoch, corpus)
        if not due(epoch, self.scale.epochs, self.hparams.warmup, self.hparams.refresh):
            return
        known = self.memory.all()[self.memory.seen[:-1]]
        if len(known):
            counts = known.argmax(dim=1).bincount(minlength=len(self.prior)) + self.hparams.smoothing
            self.prior.copy_(counts / counts.sum())

    def objective(self, embeddings: tuple[Tensor, ...], index: Tensor, epoch: int) -> Output:
        h, pairs = self.hparams, self.pairs(embeddings, index, epoch)
        losses = self.losses(pairs)
        self.observe(index, losses.detach())
        loss, since = losses.mean(), epoch + 1 - h.warmup.whole(self.scale.epochs)
        with torch.autocast(index.device.type, enabled=False):
            cosines = F.normalize(torch.stack([pairs.z1, pairs.z2]).to(self.targets) @ self.targets.T, dim=2)
            if since > 0:
                share = min(1.0, since / max(1.0, h.ramp.epochs(self.scale.epochs)))
                loss = loss + share * harmonization(cosines, self.prior, h.iterations).mean()
        self.memory.update(index, cosines[0], h.beta if since > 0 else h.early_beta)
        return Output(loss, -self.prior[self.memory[index].argmax(dim=1)])

    def sample_state(self) -> Mapping[str, Tensor]:
        """The host's, and the direction of each image."""
        direction = torch.where(self.memory.seen[:-1], self.memory.all().argmax(dim=1), UNASSIGNED)
        return {**self.host.sample_state(), "cluster": direction}


def harmonization(cosines: Tensor, prior: Tensor, iterations: int) -> Tensor:
    """(B,) cross entropies of both views with the soft labels of the other, from (2, B, K) cosines and the (K,) prior."""
    labels = sinkhorn(cosines / 0.05, prior, iterations)  # both temperatures are constants of the reference
    return -(labels.flip(0) * (cosines / 0.1).log_softmax(dim=2)).sum(dim=(0, 2))
