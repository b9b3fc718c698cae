"""NNCLR: the positive of an image is the nearest neighbour of its other view in a support set of earlier embeddings.

Dwibedi et al., ICCV 2021, arXiv:2104.14548. Heads, temperature and a support set of first views as in the CIFAR settings of
vturrisi/solo-learn @ 9187ea3 (`solo/methods/nnclr.py`). Deviations: symmetric views and SGD schedule of the benchmark instead
of asymmetric views and LARS; a support set of at most half of the images (`methods/queue.py`), as in a longer one the nearest
neighbour is often the image itself.
"""

from dataclasses import dataclass

from torch import Tensor

from core.settings import setting
from methods.base import Method, Output, register
from methods.heads import mlp
from methods.losses import info_nce_in_batch
from methods.queue import LARGE, Queue
from methods.schedules import MIN_TEMPERATURE, Temperature, temperature_at


@register(
    "nnclr",
    title="NNCLR",
    paper="Dwibedi et al., ICCV 2021, arXiv:2104.14548",
    overrides={
        **LARGE,
        "cpu": {"hidden_dim": 512, "predictor_dim": 1024},  # for speed; not tuned
        "smoke": {"hidden_dim": 256, "predictor_dim": 256},
    },
    suite=False,
    group="baselines",
)
class NNCLR(Method):
    """Neighbours from a queue against predictions of the batch."""

    decay_norm_and_bias = False

    @dataclass(frozen=True)
    class Hparams:
        """CIFAR settings of vturrisi/solo-learn, but for the support set."""

        temperature: Temperature = setting(0.2, "softmax temperature tau, or its schedule", low=MIN_TEMPERATURE)
        queue: int = setting(4096, "embeddings in the support set; at most half of the pretraining images are used", low=1)
        hidden_dim: int = setting(2048, "hidden dimension of the projector", low=1)
        predictor_dim: int = setting(4096, "hidden dimension of the predictor", low=1)
        out_dim: int = setting(256, "dimension of the embedding", low=1)

    def build(self, width: int) -> None:
        h = self.hparams
        self.projector = mlp(width, h.hidden_dim, h.out_dim, final_norm=True, layers=3)
        self.predictor = mlp(h.out_dim, h.predictor_dim, h.out_dim, final_norm=False)
        self.support = Queue(h.queue, h.out_dim, self.scale.samples)

    def encode(self, views: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """(B, d) predictions of both views, then embeddings of both."""
        z = [self.project(view) for view in views]
        return (*map(self.predictor, z), *z)

    def objective(self, embeddings: tuple[Tensor, ...], index: Tensor, epoch: int) -> Output:
        p1, p2, z1, z2 = embeddings
        tau = temperature_at(self.hparams.temperature, epoch, self.scale.epochs)
        near1, near2 = self.support.nearest(z1), self.support.nearest(z2)
        losses = (info_nce_in_batch(near1, p2, tau) + info_nce_in_batch(near2, p1, tau)) / 2
        self.support.push(z1)
        return Output(losses.mean(), losses.detach())

    def project(self, images: Tensor) -> Tensor:
        return self.projector(self.backbone(images))
