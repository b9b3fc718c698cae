"""SimSiam: predict the embedding of one view from the other; a stop-gradient prevents collapse.

Chen and He, CVPR 2021, arXiv:2011.10566. Heads as in the CIFAR settings of vturrisi/solo-learn @ 9187ea3. Deviations: the
benchmark's views and schedule, for the predictor too (the authors' code keeps its learning rate constant).
"""

from dataclasses import dataclass

from torch import Tensor

from core.settings import setting
from methods.base import Method, Output, register
from methods.heads import mlp
from methods.losses import byol_regression


@register(
    "simsiam",
    title="SimSiam",
    paper="Chen and He, CVPR 2021, arXiv:2011.10566",
    overrides={
        "cpu": {"hidden_dim": 512, "out_dim": 512, "predictor_dim": 128},  # for speed; not tuned
        "smoke": {"hidden_dim": 256, "out_dim": 256, "predictor_dim": 64},
    },
    suite=False,
    group="baselines",
)
class SimSiam(Method):
    """Predictor and stop-gradient; no negatives, no momentum encoder."""

    @dataclass(frozen=True)
    class Hparams:
        """CIFAR settings of vturrisi/solo-learn."""

        hidden_dim: int = setting(2048, "hidden dimension of the projector", low=1)
        out_dim: int = setting(2048, "dimension of the embedding", low=1)
        predictor_dim: int = setting(512, "hidden dimension of the predictor", low=1)

    def build(self, width: int) -> None:
        h = self.hparams
        self.projector = mlp(width, h.hidden_dim, h.out_dim, final_norm=True, affine=False, layers=3)
        self.predictor = mlp(h.out_dim, h.predictor_dim, h.out_dim, final_norm=False)

    def encode(self, views: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """(B, d) predictions of both views, then embeddings of both."""
        z = [self.project(view) for view in views]
        return (*map(self.predictor, z), *z)

    def losses(self, embeddings: tuple[Tensor, ...], epoch: int) -> Tensor:
        """(B,) 1 - (cos(p1, z2) + cos(p2, z1)) / 2: the paper's loss plus 1, from 0 to 2."""
        p1, p2, z1, z2 = embeddings
        return (byol_regression(p1, z2) + byol_regression(p2, z1)) / 4

    def objective(self, embeddings: tuple[Tensor, ...], index: Tensor, epoch: int) -> Output:
        losses = self.losses(embeddings, epoch)
        return Output(losses.mean(), losses.detach())

    def project(self, images: Tensor) -> Tensor:
        return self.projector(self.backbone(images))
