"""rwSAM: sharpness-aware minimisation whose perturbation gives images of low density, of the tail, a larger weight.

Liu et al., ICLR 2022, arXiv:2110.05025. Reference: Liuhong99/Imbalanced-SSL @ 9783c43. The gradient of the loss with image
weights w_i sets the perturbation of the network; the step follows the gradient with equal weights at the perturbed network.
w_i is the kernel density of an image's feature among all images to the power -alpha; its scale cancels. Hosts are SimSiam, as
in the reference for CIFAR, and MoCo v2, as for ImageNet. The tail score is w_i. Deviations: the density is estimated in the
run, with equal weights until `warmup` (the reference reads weights from a file, made from another network's features); kernel,
`alpha` and `bandwidth` are this suite's, as the reference has none, `alpha` and `bandwidth` chosen on validation images;
statistics of batch norms, MoCo's queue and its key network advance once per step (there: in both passes); the weights apply to
SimSiam's loss (there, its default form ignores them).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from backbones.corpus import Corpus
from core.settings import setting
from methods.base import Method, Output, register
from methods.clusters import log_kernel_density
from methods.mocov2 import MoCoV2
from methods.schedules import Duration, check_warmup, due
from methods.sharpness import Sharpness
from methods.simsiam import SimSiam

OVERRIDES: dict[str, dict[str, Any]] = {
    **{name: {"rho": 2.0} for name in ("imagenet100lt", "imagenetlt", "placeslt", "inat18")},  # the command for ImageNet-LT
    "cpu": {"refresh": "30%"},  # for speed; not tuned
    "smoke": {"warmup": "50%"},
}
PAPER = "Liu et al., ICLR 2022, arXiv:2110.05025"


@dataclass(frozen=True)
class RWSAMSettings:
    """Defaults of the reference's command for CIFAR with density weights; from `alpha` on this suite's.

    `alpha` and `bandwidth`: the best of four on validation accuracy of splits 1 and 2, preset cpu (docs/protocols.md).
    """

    rho: float = setting(0.5, "length of the perturbation; 0: none, an ordinary step", low=0)
    adaptive: bool = setting(True, "perturbation relative to the size of each weight, as in the reference, or not")
    alpha: float = setting(0.5, "exponent of the inverse density; 0: equal weights, SAM", low=0)
    bandwidth: float = setting(0.25, "standard deviation of the kernel over the RMS distance of two features", low=1e-3)
    warmup: Duration = setting(Duration("10%"), "time before the first estimate of the density")
    refresh: Duration = setting(Duration("10%"), "time between estimates, at least one epoch")


class ReweightedSAM(Method):
    """Extends a host, named after it in the list of base classes, that has the loss of each image as `losses`."""

    Host: ClassVar[type[Method]]
    losses: Callable[[tuple[Tensor, ...], int], Tensor]

    @classmethod
    def stack(cls) -> tuple[type[Method], ...]:
        return (*cls.Host.stack(), cls)

    def build(self, width: int) -> None:
        self.Host.build(self, width)
        check_warmup(self.name, self.hparams.warmup, self.scale.epochs)
        self.sharpness = Sharpness(self.hparams.rho, self.hparams.adaptive) if self.hparams.rho else None
        self.register_buffer("weight", torch.ones(self.scale.samples))
        self.weight: Tensor

    def on_epoch_start(self, epoch: int, corpus: Corpus) -> None:
        """Estimates the density, if that is due in this epoch."""
        super().on_epoch_start(epoch, corpus)
        h = self.hparams
        if due(epoch, self.scale.epochs, h.warmup, h.refresh):
            x = nn.functional.normalize(torch.cat(list(corpus.embed(self.backbone, corpus.images))), dim=1)
            self.weight.copy_(len(x) * (-h.alpha * log_kernel_density(x, h.bandwidth)).softmax(dim=0))

    def ascent(self, embeddings: tuple[Tensor, ...], index: Tensor, epoch: int) -> Output:
        losses = self.losses(embeddings, epoch)
        return Output((self.weight[index] * losses).mean(), losses.detach())

    def objective(self, embeddings: tuple[Tensor, ...], index: Tensor, epoch: int) -> Output:
        return replace(super().objective(embeddings, index, epoch), scores=self.weight[index])


@register("rwsam", title="rwSAM", paper=PAPER, overrides=OVERRIDES, suite=False)
class SimSiamWithRWSAM(ReweightedSAM, SimSiam):
    """SimSiam with re-weighted sharpness-aware minimisation."""

    Host = SimSiam

    @dataclass(frozen=True)
    class Hparams(RWSAMSettings, SimSiam.Hparams):
        """Hyper-parameters of SimSiam and rwSAM."""


@register("mocov2+rwsam", title="MoCo v2+rwSAM", paper=PAPER, overrides=OVERRIDES, suite=False)
class MoCoV2WithRWSAM(ReweightedSAM, MoCoV2):
    """MoCo v2 with re-weighted sharpness-aware minimisation."""

    Host = MoCoV2

    @dataclass(frozen=True)
    class Hparams(RWSAMSettings, MoCoV2.Hparams):
        """Hyper-parameters of MoCo v2 and rwSAM."""
