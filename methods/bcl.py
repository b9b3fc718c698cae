"""BCL: images with a high average loss, which are often of tail classes, get stronger augmentation.

Zhou et al., ICML 2022, arXiv:2205.12693 ("Boosted Contrastive Learning"; not the supervised Balanced Contrastive Learning).
Reference: MediaBrain-SJTU/BCL @ a2342f8. A moving average of each image's loss, standardised and scaled to [0, 1] after each
epoch, is the strength of RandAugment in its views (`data/views/randaugment.py`). BCL-I is SimCLR with one operation, BCL-D is
SDCLR with two. Deviations: the benchmark's weight decay for every method (the reference uses 5e-4 for BCL-I and its SimCLR,
1e-4 for SDCLR and BCL-D); BCL-D averages the loss of one joint forward pass instead of the first of two equal ones.
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

# BCL on large sets in the code of Geometric Harmonization (`BCL/memoboosted_LT_Dataset.py`): no minimum magnitude
LARGE: dict[str, dict[str, Any]] = {
    name: {"operations": 2, "weakest": 0.0, "jittered": True} for name in ("imagenet100lt", "imagenetlt", "placeslt", "inat18")
}


OPERATIONS = "RandAugment operations per view, each applied with the image's strength as its probability"
WEAKEST = "RandAugment magnitude at strength 0; at strength 1 it is 30"
JITTERED = (
    "whether the increase of the magnitude with strength is multiplied by u ~ U(0, 1), one draw for all views of an image"
)


@dataclass(frozen=True)
class BCLSettings:
    """Loss average and augmentation of BCL-I."""

    momentum: float = setting(0.97, "decay of the moving average of each image's loss", 0, 0.9999)
    operations: int = setting(1, OPERATIONS, low=1)
    weakest: float = setting(10.0, WEAKEST, 0, 30)
    jittered: bool = setting(False, JITTERED)


@register(
    "bcl",
    title="BCL",
    paper="Zhou et al., ICML 2022, arXiv:2205.12693",
    overrides={**LARGE, "cpu": {"weakest": 5.0}},
)
class BCL(PlugIn):
    """BCL-I: SimCLR with stronger augmentation of images with a high average loss."""

    Host: ClassVar[type[Contrastive]] = SimCLR

    @dataclass(frozen=True)
    class Hparams(BCLSettings, SimCLR.Hparams):
        """Hyper-parameters of SimCLR and BCL."""

    def extend(self, width: int) -> None:
        h = self.hparams
        self.views = tuple(
            role.but(randaugment=RandAugment(h.operations, h.weakest, 30 - h.weakest, h.jittered)) for role in self.host.views
        )
        self.memory = SampleMemory(self.scale.samples, h.momentum)
        # the last entry is read at index -1: images of an OOD pool have strength 0
        self.register_buffer("strength", torch.zeros(self.scale.samples + 1))
        self.strength: Tensor

    def on_epoch_start(self, epoch: int, corpus: Corpus) -> None:
        """Updates the strengths; they are 0 in the first epoch, before any loss is known, and for unreadable images."""
        self.host.on_epoch_start(epoch, corpus)
        known = self.memory.seen[:-1]
        if epoch and known.sum() > 1:
            self.strength[:-1][known] = strengths(self.memory.all()[known])

    def view_strength(self, index: Tensor) -> Tensor:
        return self.strength[index]

    def observe(self, index: Tensor, losses: Tensor) -> None:
        self.host.observe(index, losses)
        self.memory.update(index, losses)

    def score(self, index: Tensor, losses: Tensor, z1: Tensor, z2: Tensor) -> Tensor:
        """(B,) average losses."""
        return self.memory[index]


@register("bcl-d", title="BCL-D", paper="Zhou et al., ICML 2022, arXiv:2205.12693", overrides=LARGE, suite=False)
class BCLD(BCL):
    """BCL-D: SDCLR with stronger augmentation of images with a high average loss."""

    Host = SDCLR

    @dataclass(frozen=True)
    class Hparams(BCLSettings, SDCLR.Hparams):
        """Hyper-parameters of SDCLR and BCL."""

        operations: int = setting(2, OPERATIONS, low=1)
        weakest: float = setting(5.0, WEAKEST, 0, 30)
        jittered: bool = setting(True, JITTERED)


def strengths(losses: Tensor) -> Tensor:
    """Maps (N,) average losses to (N,) strengths in [0, 1]: z-score, divided by its largest absolute value, to 1/2 +- 1/2.

    MediaBrain-SJTU/BCL, `data/memoboosted_cifar100.py`. Not rank-based: one outlier moves all other strengths towards 1/2.
    """
    standard = (losses - losses.mean()) / losses.std().clamp(min=1e-12)
    return 0.5 * standard / standard.abs().max().clamp(min=1e-12) + 0.5
