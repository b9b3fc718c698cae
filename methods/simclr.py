"""SimCLR: NT-Xent between two views of an image, with all other images of the batch as negatives.

Chen et al., ICML 2020, arXiv:2002.05709, as implemented for long-tailed data in VITA-Group/SDCLR @ f1490fc: one forward pass
over both views, which therefore share batch-norm statistics; a two-layer projector that ends in a batch norm.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from core.settings import setting
from methods.base import register
from methods.contrastive import Contrastive
from methods.heads import mlp
from methods.schedules import MIN_TEMPERATURE, Temperature


@register(
    "simclr",
    title="SimCLR",
    paper="Chen et al., ICML 2020, arXiv:2002.05709",
    overrides={"cpu": {"temperature": 0.1}},  # tuned for this preset: docs/cpu_preset.md
    group="baselines",
)
class SimCLR(Contrastive):
    """One network, one projector, NT-Xent."""

    @dataclass(frozen=True)
    class Hparams:
        """Defaults of VITA-Group/SDCLR."""

        temperature: Temperature = setting(0.2, "softmax temperature tau, or its schedule", low=MIN_TEMPERATURE)
        out_dim: int = setting(128, "dimension of the embedding", low=1)

    def build(self, width: int) -> None:
        self.projector = mlp(width, width, self.hparams.out_dim, final_norm=True)

    def encode(self, views: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        z1, z2 = self.project(torch.cat(views)).chunk(2)
        return z1, z2

    def project(self, images: Tensor) -> Tensor:
        return self.projector(self.backbone(images))
