"""Barlow Twins: make the cross-correlation matrix of the embeddings of two views equal to the identity.

Zbontar et al., ICML 2021, arXiv:2103.03230. Projector as in the CIFAR settings of vturrisi/solo-learn @ 9187ea3. Deviations:
symmetric views and SGD schedule of the benchmark instead of asymmetric views and LARS; therefore a loss that is multiplied by
0.0003 (solo-learn: 0.1), which makes no difference to LARS: with 0.1, SGD at 0.5 does not lower the loss (docs/protocols.md).
The loss is no sum over images: the tail score is the difference of an image's standardised views.
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
    "barlow",
    title="Barlow Twins",
    paper="Zbontar et al., ICML 2021, arXiv:2103.03230",
    overrides={
        "cpu": {"hidden_dim": 512, "out_dim": 512},  # for speed; not tuned
        "smoke": {"hidden_dim": 256, "out_dim": 256},
    },
    suite=False,
    group="baselines",
)
class BarlowTwins(Method):
    """Correlation 1 of each dimension between the views, 0 of different dimensions."""

    decay_norm_and_bias = False

    @dataclass(frozen=True)
    class Hparams:
        """CIFAR settings of vturrisi/solo-learn, but for the factor of the loss."""

        redundancy: float = setting(0.005, "weight lambda of the elements off the diagonal", low=0)
        loss_scale: float = setting(0.0003, "factor of the loss, for SGD", low=0)
        hidden_dim: int = setting(2048, "hidden dimension of the projector", low=1)
        out_dim: int = setting(2048, "dimension of the embedding", low=1)

    def build(self, width: int) -> None:
        self.projector = mlp(width, self.hparams.hidden_dim, self.hparams.out_dim, final_norm=False, layers=3)

    def encode(self, views: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return tuple(self.project(view) for view in views)

    def objective(self, embeddings: tuple[Tensor, ...], index: Tensor, epoch: int) -> Output:
        """The tail score is half of the mean squared difference of the standardised views, on average 1 - mean_d C_dd."""
        z1, z2 = standardized(embeddings[0]), standardized(embeddings[1])
        loss = self.hparams.loss_scale * barlow_twins(z1, z2, self.hparams.redundancy)
        return Output(loss, (z1 - z2).detach().square().mean(dim=1) / 2)

    def project(self, images: Tensor) -> Tensor:
        return self.projector(self.backbone(images))


def standardized(z: Tensor) -> Tensor:
    """(B, d) embeddings with mean 0 and variance 1 (biased, plus 1e-5) of each dimension over the batch."""
    return F.batch_norm(z.to(at_least_float32(z)), None, None, training=True)


def barlow_twins(z1: Tensor, z2: Tensor, redundancy: float) -> Tensor:
    """sum_d (1 - C_dd)^2 + redundancy * sum_{d != e} C_de^2 of C = z1^T z2 / B. Zbontar et al. 2021, eq. 1 and 2.

    Args:
        z1: (B, d) standardised embeddings of the first views.
        z2: (B, d) of the second views.
        redundancy: weight lambda.

    Returns:
        Scalar.
    """
    with torch.autocast(z1.device.type, enabled=False):
        correlation = z1.T @ z2 / len(z1)
        return (1 - correlation.diagonal()).square().sum() + redundancy * off_diagonal_squares(correlation)
