"""SimCLR: two views of an image attract, all other images of the batch repel.

Chen et al., ICML 2020, arXiv:2002.05709, in the form the long-tail papers compare with (VITA-Group/SDCLR @ f1490fc): one
forward pass over both views, so that they share batch statistics; a two-layer projector that ends in a batch norm.
"""

from dataclasses import dataclass

import torch

from core.settings import setting
from data.loader import Batch
from methods.base import Method, Output, register
from methods.heads import mlp
from methods.losses import nt_xent


@register("simclr", title="SimCLR", paper="Chen et al., ICML 2020, arXiv:2002.05709")
class SimCLR(Method):
    """Contrastive learning with the other images of the batch as negatives."""

    @dataclass(frozen=True)
    class Hparams:
        """Defaults of VITA-Group/SDCLR."""

        temperature: float = setting(0.2, "softmax temperature tau", low=1e-3)
        out_dim: int = setting(128, "width of the embedding", low=1)

    def build(self, width: int) -> None:
        self.projector = mlp(width, width, self.hparams.out_dim, final_norm=True)

    def loss(self, batch: Batch) -> Output:
        z1, z2 = self.projector(self.backbone(torch.cat(batch.views))).chunk(2)
        losses = nt_xent(z1, z2, self.hparams.temperature)
        return Output(losses.mean(), losses.detach())
