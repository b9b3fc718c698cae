"""MoCo v3: predict a momentum encoder's key of the other view, with the keys of the rest of the batch as negatives; no queue.

Chen et al., ICCV 2021, arXiv:2104.02057, in its form for ResNets: heads as in facebookresearch/moco-v3 @ 0c5d00a
(`moco/builder.py`), sizes and temperature as in the CIFAR settings of vturrisi/solo-learn @ 9187ea3. Deviations: symmetric
views and SGD schedule of the benchmark instead of asymmetric views and LARS; nothing that is specific to vision transformers.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from core.settings import setting
from methods.base import Method, Output, register
from methods.heads import mlp
from methods.losses import info_nce_in_batch
from methods.momentum import cosine_momentum, ema_copy, ema_update
from methods.schedules import MIN_TEMPERATURE, Temperature, temperature_at


@register(
    "mocov3",
    title="MoCo v3",
    paper="Chen et al., ICCV 2021, arXiv:2104.02057",
    overrides={
        "cpu": {"hidden_dim": 1024, "momentum": 0.8},  # BYOL's; not tuned for MoCo v3
        "smoke": {"hidden_dim": 256, "momentum": 0.8},
    },
    suite=False,
    group="baselines",
)
class MoCoV3(Method):
    """Query network with a predictor; the key network is an exponential moving average of it, without the predictor."""

    decay_norm_and_bias = False

    @dataclass(frozen=True)
    class Hparams:
        """CIFAR settings of vturrisi/solo-learn."""

        temperature: Temperature = setting(0.2, "softmax temperature tau, or its schedule", low=MIN_TEMPERATURE)
        momentum: float = setting(0.99, "initial EMA decay of the key network; increases to 1 by a half cosine", 0, 1)
        hidden_dim: int = setting(4096, "hidden dimension of projector and predictor", low=1)
        out_dim: int = setting(256, "dimension of the embedding", low=1)

    def build(self, width: int) -> None:
        hidden, out = self.hparams.hidden_dim, self.hparams.out_dim
        self.projector = mlp(width, hidden, out, final_norm=True, affine=False)
        self.predictor = mlp(out, hidden, out, final_norm=True, affine=False)
        self.key_backbone, self.key_projector = ema_copy(self.backbone), ema_copy(self.projector)

    def encode(self, views: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """(B, d) queries of both views, then keys of both."""
        queries = [self.predictor(self.project(view)) for view in views]
        with torch.no_grad():
            keys = [self.key_projector(self.key_backbone(view)) for view in views]
        return (*queries, *keys)

    def objective(self, embeddings: tuple[Tensor, ...], index: Tensor, epoch: int) -> Output:
        q1, q2, k1, k2 = embeddings
        tau = temperature_at(self.hparams.temperature, epoch, self.scale.epochs)
        # the factor 2 tau, of Grill et al. 2020, makes the size of the gradient depend less on the temperature
        losses = 2 * tau * (info_nce_in_batch(q1, k2, tau) + info_nce_in_batch(q2, k1, tau))
        return Output(losses.mean(), losses.detach())

    def project(self, images: Tensor) -> Tensor:
        return self.projector(self.backbone(images))

    def after_step(self, step: int) -> None:
        momentum = cosine_momentum(self.hparams.momentum, step, self.scale.steps)
        ema_update([self.key_backbone, self.key_projector], [self.backbone, self.projector], momentum)
