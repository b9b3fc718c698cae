"""SwAV: predict the cluster of a view from the other views of its image, with clusters that are equally large in a batch.

Caron et al., NeurIPS 2020, arXiv:2006.09882. Head, prototypes, queues and crops as in the CIFAR settings of vturrisi/solo-learn
@ 9187ea3 (`solo/methods/swav.py`, `scripts/pretrain/cifar-multicrop/`). Deviations: colours and SGD schedule of the benchmark
instead of LARS; queues that are filled from the first step on, with at most half of the images (`methods/queue.py`); prototypes
that are normalised at use, as in solo-learn (the authors' code: in place, before each step).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from core.settings import setting
from methods.base import Method, Output, register
from methods.clusters import sinkhorn
from methods.heads import mlp
from methods.multicrop import IMAGE_FILES, LARGE, CropSettings, crop_roles, features_of
from methods.prototypes import Prototypes, swapped_prediction
from methods.queue import Queue
from methods.schedules import MIN_TEMPERATURE, Duration, Temperature, temperature_at


@register(
    "swav",
    title="SwAV",
    paper="Caron et al., NeurIPS 2020, arXiv:2006.09882",
    overrides={
        **IMAGE_FILES,
        "cpu": {"crops": 2, "hidden_dim": 512, "prototypes": 300, "freeze": Duration("1")},  # for speed; not tuned
        "smoke": {"crops": 2, "hidden_dim": 256, "prototypes": 100},
    },
    suite=False,
    group="baselines",
)
class SwAV(Method):
    """Codes of the large views by Sinkhorn's algorithm, predicted from all other views."""

    decay_norm_and_bias = False

    @dataclass(frozen=True)
    class Hparams(CropSettings):
        """CIFAR settings of vturrisi/solo-learn, with 2 and 50 of 1000 epochs."""

        temperature: Temperature = setting(0.1, "softmax temperature of the predictions, or its schedule", low=MIN_TEMPERATURE)
        epsilon: float = setting(0.05, "temperature of the codes: weight of the entropy in optimal transport", low=0.02)
        iterations: int = setting(3, "Sinkhorn iterations", low=1)
        prototypes: int = setting(3000, "number of prototypes K", low=2)
        freeze: Duration = setting(Duration("0.2%"), "time at the start without training of the prototypes")
        queue: int = setting(3840, "embeddings in the queue of each large view; at most half of the images are used", low=1)
        queue_start: Duration = setting(Duration("5%"), "time before the queues are used; 100%: never")
        hidden_dim: int = setting(2048, "hidden dimension of the projector", low=1)
        out_dim: int = setting(128, "dimension of the embedding", low=1)

    def build(self, width: int) -> None:
        h = self.hparams
        self.views = crop_roles(h)
        self.projector = mlp(width, h.hidden_dim, h.out_dim, final_norm=False)
        self.prototypes = Prototypes(h.out_dim, h.prototypes)
        self.queue1, self.queue2 = (Queue(h.queue, h.out_dim, self.scale.samples) for _ in range(LARGE))

    def encode(self, views: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """(B, d) embeddings of every view."""
        return self.projector(features_of(self.backbone, views)).tensor_split(len(views))

    def objective(self, embeddings: tuple[Tensor, ...], index: Tensor, epoch: int) -> Output:
        h, run = self.hparams, self.scale.epochs
        cosines = self.prototypes(torch.stack(embeddings), frozen=epoch < h.freeze.whole(run))  # (V, B, K)
        codes = self.codes(cosines[:LARGE], epoch)
        losses = swapped_prediction(codes, cosines / temperature_at(h.temperature, epoch, run))
        self.queue1.push(embeddings[0])
        self.queue2.push(embeddings[1])
        return Output(losses.mean(), losses.detach())

    @torch.no_grad()
    def codes(self, cosines: Tensor, epoch: int) -> Tensor:
        """(2, B, K) assignments of the large views that give every prototype the same share of batch and queue."""
        h, rows = self.hparams, cosines.shape[1]
        if epoch >= h.queue_start.whole(self.scale.epochs):
            queued = self.prototypes(torch.stack([self.queue1.vectors, self.queue2.vectors]))
            cosines = torch.cat([cosines, queued], dim=1)
        share = cosines.new_full((h.prototypes,), 1 / h.prototypes)
        with torch.autocast(cosines.device.type, enabled=False):
            return sinkhorn(cosines / h.epsilon, share, h.iterations)[:, :rows]

    def project(self, images: Tensor) -> Tensor:
        return self.projector(self.backbone(images))
