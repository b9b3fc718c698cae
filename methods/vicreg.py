"""VICReg: equal embeddings of two views (invariance), with a variance of each dimension and without covariances.

Bardes et al., ICLR 2022, arXiv:2105.04906. Loss as in the paper's equations and vturrisi/solo-learn @ 9187ea3 (the code of the
authors halves the variance term); projector of solo-learn's CIFAR settings. Deviations: symmetric views and SGD schedule of the
benchmark instead of asymmetric views and LARS; therefore a loss that is multiplied by 1/25, which makes no difference to LARS.
Without it, SGD at 0.5 diverges (docs/protocols.md). An image's tail score is its part of the invariance term: the other two are
no sums over images.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from core.settings import setting
from methods.base import Method, Output, register
from methods.heads import mlp
from methods.losses import at_least_float32, off_diagonal_squares


@register(
    "vicreg",
    title="VICReg",
    paper="Bardes et al., ICLR 2022, arXiv:2105.04906",
    overrides={
        "cpu": {"hidden_dim": 512, "out_dim": 512},  # for speed; not tuned
        "smoke": {"hidden_dim": 256, "out_dim": 256},
    },
    suite=False,
    group="baselines",
)
class VICReg(Method):
    """Invariance between the views; variance and covariance within each view."""

    decay_norm_and_bias = False

    @dataclass(frozen=True)
    class Hparams:
        """CIFAR settings of vturrisi/solo-learn, but for the factor of the loss."""

        invariance: float = setting(25.0, "weight of the squared difference of the views", low=0)
        variance: float = setting(25.0, "weight of the hinge on the standard deviation of each dimension", low=0)
        covariance: float = setting(1.0, "weight of the squared covariances of different dimensions", low=0)
        loss_scale: float = setting(0.04, "factor of the loss, for SGD", low=0)
        hidden_dim: int = setting(2048, "hidden dimension of the projector", low=1)
        out_dim: int = setting(2048, "dimension of the embedding", low=1)

    def build(self, width: int) -> None:
        self.projector = mlp(width, self.hparams.hidden_dim, self.hparams.out_dim, final_norm=False, layers=3)

    def encode(self, views: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return tuple(self.project(view) for view in views)

    def objective(self, embeddings: tuple[Tensor, ...], index: Tensor, epoch: int) -> Output:
        """The tail score is the mean squared difference of the two embeddings of an image."""
        h = self.hparams
        z1, z2 = (z.to(at_least_float32(z)) for z in embeddings)
        differences = (z1 - z2).square().mean(dim=1)
        loss = h.invariance * differences.mean()
        for z in (z1, z2):
            loss = loss + h.variance * variance_hinge(z) + h.covariance * covariance_penalty(z)
        return Output(h.loss_scale * loss, differences.detach())

    def project(self, images: Tensor) -> Tensor:
        return self.projector(self.backbone(images))


def variance_hinge(z: Tensor) -> Tensor:
    """mean_d max(0, 1 - sqrt(Var_d + 1e-4)) of (B, d) embeddings, unbiased variance. Bardes et al. 2022, eq. 1 and 2."""
    return F.relu(1 - (z.var(dim=0) + 1e-4).sqrt()).mean()


def covariance_penalty(z: Tensor) -> Tensor:
    """Sum of the squared covariances of different dimensions of (B, d) embeddings, over d. Bardes et al. 2022, eq. 3 and 4."""
    with torch.autocast(z.device.type, enabled=False):
        centred = z - z.mean(dim=0)
        return off_diagonal_squares(centred.T @ centred / (len(z) - 1)) / z.shape[1]
