"""BCL: images whose loss has stayed high, those of the tail, get stronger augmentation.

Zhou et al., ICML 2022, arXiv:2205.12693 ("Boosted Contrastive Learning"; not the supervised Balanced Contrastive Learning).
Reference: MediaBrain-SJTU/BCL @ a2342f8. A moving average of each image's loss, standardised and scaled into [0, 1] after each
epoch, is the strength of the RandAugment in its views (`data/views/randaugment.py`). BCL-I boosts SimCLR with one operation,
BCL-D boosts SDCLR with two. Departures: the benchmark's weight decay for every method (the reference gives BCL-I and its SimCLR
5e-4, SDCLR and BCL-D 1e-4); BCL-D remembers the loss of the one joint forward in place of the first of two equal ones.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from backbones.corpus import Corpus
from core.settings import setting
from data.views.spec import RandAugment
from methods.base import register
from methods.contrastive import Contrastive, PlugIn
from methods.memory import SampleMemory
from methods.sdclr import SDCLR
from methods.simclr import SimCLR

# of BCL in Geometric Harmonization's runs on large sets: no least magnitude
LARGE: dict[str, dict[str, Any]] = {
    name: {"operations": 2, "weakest": 0.0, "jittered": True} for name in ("imagenet100lt", "imagenetlt", "placeslt", "inat18")
}


@dataclass(frozen=True)
class BCLSettings:
    """Memory and augmentation of BCL-I."""

    momentum: float = setting(0.97, "decay of each image's average loss", 0, 0.9999)
    operations: int = setting(1, "RandAugment operations a view, each with the image's strength as probability", low=1)
    weakest: float = setting(10.0, "magnitude at strength 0, of 30", 0, 30)
    jittered: bool = setting(False, "whether a random number, one for all views of an image, scales the rise to 30")


@register(
    "bcl",
    title="BCL",
    paper="Zhou et al., ICML 2022, arXiv:2205.12693",
    overrides={**LARGE, "cpu": {"weakest": 5.0}},
)
class BCL(PlugIn):
    """SimCLR with views that are stronger where the loss has stayed high: BCL-I."""

    Host: ClassVar[type[Contrastive]] = SimCLR

    @dataclass(frozen=True)
    class Hparams(BCLSettings, SimCLR.Hparams):
        """SimCLR's and BCL's."""

    def extend(self, width: int) -> None:
        h = self.hparams
        self.views = tuple(
            role.but(randaugment=RandAugment(h.operations, h.weakest, 30 - h.weakest, h.jittered)) for role in self.host.views
        )
        self.memory = SampleMemory(self.scale.samples, h.momentum)
        # one more than images: those from outside the set, index -1, have strength 0
        self.register_buffer("strength", torch.zeros(self.scale.samples + 1))
        self.strength: Tensor

    def on_epoch_start(self, epoch: int, corpus: Corpus) -> None:
        """Maps the memory to strengths; in the first epoch there is none yet, and all are 0."""
        self.host.on_epoch_start(epoch, corpus)
        if epoch:
            self.strength[:-1] = strengths(self.memory.all())

    def view_strength(self, index: Tensor) -> Tensor:
        return self.strength[index]

    def observe(self, index: Tensor, losses: Tensor) -> None:
        self.host.observe(index, losses)
        self.memory.update(index, losses)

    def score(self, index: Tensor, losses: Tensor, z1: Tensor, z2: Tensor) -> Tensor:
        """The image's average loss."""
        return self.memory[index]


@register("bcl-d", title="BCL-D", paper="Zhou et al., ICML 2022, arXiv:2205.12693", overrides=LARGE, suite=False)
class BCLD(BCL):
    """SDCLR with such views."""

    Host = SDCLR

    @dataclass(frozen=True)
    class Hparams(BCLSettings, SDCLR.Hparams):
        """SDCLR's and BCL's."""

        operations: int = setting(2, "RandAugment operations a view, each with the image's strength as probability", low=1)
        weakest: float = setting(5.0, "magnitude at strength 0, of 30", 0, 30)
        jittered: bool = setting(
            True, "whether a random number, one for all views of an image, scales the rise to magnitude 30"
        )


def strengths(losses: Tensor) -> Tensor:
    """Maps (N,) average losses to [0, 1]: 1/2 for the mean, and 0 or 1 for the image furthest from it.

    The reference's `calculate_momentum_weight`: no ranks, so that one outlier moves everyone towards 1/2.
    """
    standard = (losses - losses.mean()) / losses.std().clamp(min=1e-12)
    return 0.5 * standard / standard.abs().max().clamp(min=1e-12) + 0.5
