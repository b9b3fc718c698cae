"""BYOL: predict a momentum encoder's embedding of the other view; no negatives.

Grill et al., NeurIPS 2020, arXiv:2006.07733. Algorithm as in vturrisi/solo-learn @ 9187ea3 (`solo/methods/byol.py`).
Deviations, as no paper releases settings for long-tailed data: the benchmark's symmetric views and SGD schedule instead of
asymmetric views and LARS, so that only the objective differs from SimCLR.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from core.settings import setting
from methods.base import Method, Output, register
from methods.heads import mlp
from methods.losses import byol_regression
from methods.momentum import cosine_momentum, ema_copy, ema_update


@register(
    "byol",
    title="BYOL",
    paper="Grill et al., NeurIPS 2020, arXiv:2006.07733",
    overrides={"cpu": {"hidden_dim": 1024, "momentum": 0.8}, "smoke": {"hidden_dim": 256}},
    group="baselines",
)
class BYOL(Method):
    """Online network with a predictor; the target network is an exponential moving average of the online network."""

    decay_norm_and_bias = False

    @dataclass(frozen=True)
    class Hparams:
        """Heads and momentum of vturrisi/solo-learn."""

        momentum: float = setting(0.99, "initial EMA decay of the target network; increases to 1 by a half cosine", 0, 1)
        hidden_dim: int = setting(4096, "hidden dimension of projector and predictor", low=1)
        out_dim: int = setting(256, "dimension of the embedding", low=1)

    def build(self, width: int) -> None:
        hidden, out = self.hparams.hidden_dim, self.hparams.out_dim
        self.projector = mlp(width, hidden, out, final_norm=False)
        self.predictor = mlp(out, hidden, out, final_norm=False)
        self.target_backbone = ema_copy(self.backbone)
        self.target_projector = ema_copy(self.projector)

    def encode(self, views: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """(B, d) predictions of both views, then targets of both."""
        # one forward pass per view in both networks: batch-norm statistics are per view
        predictions = [self.predictor(self.projector(self.backbone(view))) for view in views]
        with torch.no_grad():
            targets = [self.target_projector(self.target_backbone(view)) for view in views]
        return (*predictions, *targets)

    def objective(self, embeddings: tuple[Tensor, ...], index: Tensor, epoch: int) -> Output:
        p1, p2, z1, z2 = embeddings
        losses = byol_regression(p1, z2) + byol_regression(p2, z1)
        return Output(losses.mean(), losses.detach())

    def project(self, images: Tensor) -> Tensor:
        return self.projector(self.backbone(images))

    def after_step(self, step: int) -> None:
        momentum = cosine_momentum(self.hparams.momentum, step, self.scale.steps)
        ema_update([self.target_backbone, self.target_projector], [self.backbone, self.projector], momentum)
