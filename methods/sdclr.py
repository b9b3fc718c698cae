"""SDCLR: contrast a network with its pruned copy; images that pruning affects most, often tail images, get larger losses.

Jiang et al., ICML 2021, arXiv:2106.02990. Reference: VITA-Group/SDCLR @ f1490fc. The first view passes through the network,
the second through the pruned branch (`backbones/pruning.py`), whose mask is computed from the weights at the start of each
epoch. Deviations: two-layer projector, as for all methods here (the reference has a third layer for SDCLR only:
`head_layers=3`); one forward pass per branch and one backward pass instead of three and two, which give the same gradient but
update the running statistics of the pruned branch, which are not used, once per step instead of twice.
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
from methods.losses import at_least_float32
from methods.schedules import MIN_TEMPERATURE, Temperature


@register(
    "sdclr",
    title="SDCLR",
    paper="Jiang et al., ICML 2021, arXiv:2106.02990",
    overrides={
        "imagenet100lt": {"temperature": 0.3, "prune": 0.3},
        "imagenetlt": {"prune": 0.1},  # from the code of Geometric Harmonization; SDCLR's authors released none
        "placeslt": {"prune": 0.1},
        "cpu": {"temperature": 0.1, "prune": 0.1},  # tuned for this preset: docs/cpu_preset.md
    },
)
class SDCLR(Contrastive):
    """A dense and a pruned branch that share their weights and have separate batch norms."""

    @dataclass(frozen=True)
    class Hparams:
        """Defaults of the CIFAR commands of VITA-Group/SDCLR."""

        temperature: Temperature = setting(0.2, "softmax temperature tau, or its schedule", low=MIN_TEMPERATURE)
        prune: float = setting(
            0.9, "fraction of the backbone's convolution weights that is masked in the pruned branch", 0, 0.999
        )
        out_dim: int = setting(128, "dimension of the embedding", low=1)
        head_layers: int = setting(2, "linear layers of the projector; the reference has 3", 2, 3)

    def build(self, width: int) -> None:
        check_prunable(self.backbone)
        self.projector = mlp(width, width, self.hparams.out_dim, final_norm=True, layers=self.hparams.head_layers)
        self.competitor = Competitor(self.backbone)
        self.competitor_projector = Competitor(self.projector)

    def on_epoch_start(self, epoch: int, corpus: Corpus) -> None:
        """Recomputes the pruning mask from the current weights."""
        self.competitor.prune(self.backbone, self.hparams.prune)

    def encode(self, views: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        dense = self.project(views[0])
        pruned = self.competitor_projector(self.projector, self.competitor(self.backbone, views[1]))
        return dense, pruned

    def project(self, images: Tensor) -> Tensor:
        return self.projector(self.backbone(images))

    def score(self, index: Tensor, losses: Tensor, z1: Tensor, z2: Tensor) -> Tensor:
        """Cosine distance between the embeddings of the two branches."""
        dtype = at_least_float32(z1)
        return 1 - F.cosine_similarity(z1.to(dtype), z2.to(dtype))
