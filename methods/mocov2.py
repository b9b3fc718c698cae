"""MoCo v2: find a momentum encoder's key of the other view among a queue of keys of earlier batches.

He et al., CVPR 2020, arXiv:1911.05722, and Chen et al. 2020, arXiv:2003.04297. Head, symmetric loss and momentum as in the
CIFAR settings of vturrisi/solo-learn @ 9187ea3 (`solo/methods/mocov2plus.py`). Deviations: the benchmark's views and schedule;
one queue, of the keys of the first views, for both directions (solo-learn: one for each); a queue of at most half of the images
(`methods/queue.py`), as a longer one often holds a key of the query's own image; no shuffled batch norm: the statistics are
those of the whole batch, also with several processes.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from core.settings import setting
from methods.base import Method, Output, register
from methods.losses import info_nce
from methods.momentum import cosine_momentum, ema_copy, ema_update
from methods.queue import LARGE, Queue
from methods.schedules import MIN_TEMPERATURE, Temperature, temperature_at


@register(
    "mocov2",
    title="MoCo v2",
    paper="Chen et al. 2020, arXiv:2003.04297",
    overrides={
        **LARGE,
        # not tuned: a tenth of the averaging time, for about 1,000 steps
        "cpu": {"hidden_dim": 1024, "momentum": 0.9, "final_momentum": 0.99},
        "smoke": {"hidden_dim": 256, "momentum": 0.9, "final_momentum": 0.99},
    },
    suite=False,
    group="baselines",
)
class MoCoV2(Method):
    """Queries of the trained network; keys of its exponential moving average; a queue of negatives."""

    @dataclass(frozen=True)
    class Hparams:
        """CIFAR settings of vturrisi/solo-learn, but for the queue."""

        temperature: Temperature = setting(0.2, "softmax temperature tau, or its schedule", low=MIN_TEMPERATURE)
        queue: int = setting(4096, "keys in the queue; at most half of the pretraining images are used", low=1)
        momentum: float = setting(0.99, "initial EMA decay of the key network", 0, 1)
        final_momentum: float = setting(0.999, "EMA decay at the end of the run, reached by a half cosine", 0, 1)
        hidden_dim: int = setting(2048, "hidden dimension of the projector", low=1)
        out_dim: int = setting(256, "dimension of the embedding", low=1)

    def build(self, width: int) -> None:
        hidden, out = self.hparams.hidden_dim, self.hparams.out_dim
        self.projector = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, out))
        self.key_backbone, self.key_projector = ema_copy(self.backbone), ema_copy(self.projector)
        self.queue = Queue(self.hparams.queue, out, self.scale.samples)

    def encode(self, views: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """(B, d) queries of both views, then keys of both."""
        queries = [self.project(view) for view in views]
        with torch.no_grad():
            keys = [self.key_projector(self.key_backbone(view)) for view in views]
        return (*queries, *keys)

    def losses(self, embeddings: tuple[Tensor, ...], epoch: int) -> Tensor:
        """(B,) InfoNCE of each image, the mean of both directions."""
        q1, q2, k1, k2 = embeddings
        tau = temperature_at(self.hparams.temperature, epoch, self.scale.epochs)
        negatives = self.queue.vectors
        return (info_nce(q1, k2, negatives, tau) + info_nce(q2, k1, negatives, tau)) / 2

    def objective(self, embeddings: tuple[Tensor, ...], index: Tensor, epoch: int) -> Output:
        losses = self.losses(embeddings, epoch)
        self.queue.push(embeddings[2])
        return Output(losses.mean(), losses.detach())

    def project(self, images: Tensor) -> Tensor:
        return self.projector(self.backbone(images))

    def after_step(self, step: int) -> None:
        momentum = cosine_momentum(self.hparams.momentum, step, self.scale.steps, self.hparams.final_momentum)
        ema_update([self.key_backbone, self.key_projector], [self.backbone, self.projector], momentum)
