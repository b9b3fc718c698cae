"""SDCLR: contrast a network with its own pruned copy, so that images it forgets first, those of the tail, weigh more.

Jiang et al., ICML 2021, arXiv:2106.02990. Reference: VITA-Group/SDCLR @ f1490fc. The first view goes through the network, the
second through its competitor (`backbones/pruning.py`), whose masks follow the weights at the start of each epoch.
Departures: two-layer projector, as every method here has (the reference gives only SDCLR a third layer: `head_layers=3`);
one forward a branch and one backward, in place of three forwards and two backwards that add up to the same gradient, so
that the competitor's running statistics, which nothing reads, move once a step and not twice.
"""

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from backbones.corpus import Corpus
from backbones.pruning import Competitor, check_prunable
from core.settings import setting
from methods.base import register
from methods.contrastive import Contrastive
from methods.heads import mlp
from methods.schedules import LOWEST, Temperature


@register(
    "sdclr",
    title="SDCLR",
    paper="Jiang et al., ICML 2021, arXiv:2106.02990",
    overrides={
        "imagenet100lt": {"temperature": 0.3, "prune": 0.3},
        "imagenetlt": {"prune": 0.1},  # of Geometric Harmonization's runs: the authors have released none
        "placeslt": {"prune": 0.1},
        "cpu": {"prune": 0.5},
    },
)
class SDCLR(Contrastive):
    """A dense and a pruned branch of one network, with batch norms of their own."""

    @dataclass(frozen=True)
    class Hparams:
        """CIFAR commands of VITA-Group/SDCLR."""

        temperature: Temperature = setting(0.2, "softmax temperature tau, or its schedule", low=LOWEST)
        prune: float = setting(0.9, "share of the backbone's convolution weights that the competitor lacks", 0, 0.999)
        out_dim: int = setting(128, "width of the embedding", low=1)
        head_layers: int = setting(2, "layers of the projector; 3 as in the reference", 2, 3)

    def build(self, width: int) -> None:
        check_prunable(self.backbone)
        self.projector = mlp(width, width, self.hparams.out_dim, final_norm=True, layers=self.hparams.head_layers)
        self.competitor = Competitor(self.backbone)
        self.competitor_projector = Competitor(self.projector)

    def on_epoch_start(self, epoch: int, corpus: Corpus) -> None:
        """Prunes the competitor by the weights as they are now."""
        self.competitor.prune(self.backbone, self.hparams.prune)

    def embed(self, views: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        dense = self.project(views[0])
        pruned = self.competitor_projector(self.projector, self.competitor(self.backbone, views[1]))
        return dense, pruned

    def project(self, images: Tensor) -> Tensor:
        return self.projector(self.backbone(images))

    def score(self, index: Tensor, losses: Tensor, z1: Tensor, z2: Tensor) -> Tensor:
        """The branches' disagreement about the image, 1 - cos."""
        return 1 - F.cosine_similarity(z1.float(), z2.float())
