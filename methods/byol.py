"""BYOL: predict a slow copy's embedding of another view; no image repels another.

Grill et al., NeurIPS 2020, arXiv:2006.07733. Algorithm as in vturrisi/solo-learn @ 9187ea3 (`solo/methods/byol.py`).
Deviations, for long-tailed data, where no paper releases settings: the benchmark's own symmetric views and SGD schedule in
place of asymmetric views and LARS, so that only the objective differs from SimCLR.
"""

import copy
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from core.settings import setting
from data.loader import Batch
from methods.base import Method, Output, register
from methods.heads import mlp
from methods.losses import byol_regression


@register(
    "byol",
    title="BYOL",
    paper="Grill et al., NeurIPS 2020, arXiv:2006.07733",
    recipes={"cpu": {"hidden_dim": 1024, "momentum": 0.9}, "smoke": {"hidden_dim": 256}},
)
class BYOL(Method):
    """Online network and predictor against an exponential moving average of the online network."""

    decay_norm_and_bias = False

    @dataclass(frozen=True)
    class Hparams:
        """Head of vturrisi/solo-learn, momentum from 0.99 to 1."""

        momentum: float = setting(0.99, "decay of the target's moving average at the start; rises to 1 by a half cosine", 0, 1)
        hidden_dim: int = setting(4096, "hidden width of projector and predictor", low=1)
        out_dim: int = setting(256, "width of the embedding", low=1)

    def build(self, width: int) -> None:
        hidden, out = self.hparams.hidden_dim, self.hparams.out_dim
        self.projector = mlp(width, hidden, out, final_norm=False)
        self.predictor = mlp(out, hidden, out, final_norm=False)
        self.target_backbone = copy.deepcopy(self.backbone).requires_grad_(False)
        self.target_projector = copy.deepcopy(self.projector).requires_grad_(False)

    def loss(self, batch: Batch) -> Output:
        # one forward a view, in both networks: batch statistics are per view
        predictions = [self.predictor(self.projector(self.backbone(view))) for view in batch.views]
        with torch.no_grad():
            targets = [self.target_projector(self.target_backbone(view)) for view in batch.views]
        losses = byol_regression(predictions[0], targets[1]) + byol_regression(predictions[1], targets[0])
        return Output(losses.mean(), losses.detach())

    def momentum_at(self, step: int) -> float:
        """Decay used after optimiser step `step` (from 0): 1 - (1 - m0) (1 + cos(pi step / steps)) / 2."""
        return 1 - (1 - self.hparams.momentum) * (math.cos(math.pi * step / self.scale.steps) + 1) / 2

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        """Moves the target's parameters; its batch statistics come from its own forward passes."""
        online: list[Tensor] = [*self.backbone.parameters(), *self.projector.parameters()]
        target: list[Tensor] = [*self.target_backbone.parameters(), *self.target_projector.parameters()]
        torch._foreach_lerp_(target, online, 1 - self.momentum_at(step))
