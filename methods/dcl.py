"""DCL: NT-Xent without the positive in the denominator, so that easy positives do not shrink the gradient of the negatives.

Yeh et al., ECCV 2022, arXiv:2110.06848: -s_i / tau + log sum_n exp(s_in / tau) over the 2B - 2 views of other images. DCLW
multiplies the positive term by 2 - exp(s_i / sigma) / mean_j exp(s_j / sigma), larger for positives that are far apart.
Reference, not the authors': raminnakhli/Decoupled-Contrastive-Learning @ 0b9b76d. As there, the gradient flows through the
weight (lightly treats it as a constant).
"""

from dataclasses import dataclass

from torch import Tensor

from core.settings import setting
from methods.base import register
from methods.contrastive import Pairs
from methods.losses import negatives, per_image, positives
from methods.schedules import MIN_TEMPERATURE, Temperature
from methods.simclr import SimCLR

PAPER = "Yeh et al., ECCV 2022, arXiv:2110.06848"


@register("dcl", title="DCL", paper=PAPER, suite=False, group="baselines")
class DCL(SimCLR):
    """SimCLR with the decoupled loss."""

    @dataclass(frozen=True)
    class Hparams(SimCLR.Hparams):
        """SimCLR's, with the temperature of the reference."""

        temperature: Temperature = setting(0.1, "softmax temperature tau, or its schedule", low=MIN_TEMPERATURE)

    def losses(self, pairs: Pairs) -> Tensor:
        return decoupled(pairs.log_probabilities[0])


@register("dclw", title="DCLW", paper=PAPER, suite=False, group="baselines")
class DCLW(SimCLR):
    """SimCLR with the decoupled loss and weighted positives."""

    @dataclass(frozen=True)
    class Hparams(DCL.Hparams):
        """DCL's, and the width of the weight."""

        sigma: float = setting(0.5, "temperature of the positives' weights; their range falls as it rises", low=1e-2)

    def losses(self, pairs: Pairs) -> Tensor:
        similarity, _ = pairs.log_probabilities
        cosine = per_image(positives(similarity)) * pairs.tau
        return decoupled(similarity, 2 - len(cosine) * (cosine / self.hparams.sigma).softmax(dim=0))


def decoupled(similarity: Tensor, weight: float | Tensor = 1.0) -> Tensor:
    """(B,) decoupled losses, each the mean over both views of an image.

    Args:
        similarity: (2B, 2B) cosines over the temperature, of `methods.losses.log_probabilities`.
        weight: of the positive terms: one number, or (B,) one per image.
    """
    return per_image(negatives(similarity).logsumexp(dim=1)) - weight * per_image(positives(similarity))
