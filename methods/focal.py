"""Focal: NT-Xent with less weight on images whose other view is already identified.

The focal loss of Lin et al., ICCV 2017, arXiv:1708.02002, on the softmax probability p of the positive: -(1 - p)^gamma log p,
the baseline "Focal" of Geometric Harmonization, arXiv:2310.17622. Reference: MediaBrain-SJTU/Geometric-Harmonization @ 9f7057c,
`focal_nt_xent`. The gradient flows through the factor. Deviation: the benchmark's weight decay (the reference: 5e-4 on CIFAR).
"""

from dataclasses import dataclass

from torch import Tensor

from core.settings import setting
from methods.base import register
from methods.contrastive import Pairs
from methods.losses import complement, per_image, positives
from methods.simclr import SimCLR


@register("focal", title="Focal", paper="Lin et al., ICCV 2017, arXiv:1708.02002", suite=False)
class Focal(SimCLR):
    """SimCLR with the focal loss of each view's positive."""

    @dataclass(frozen=True)
    class Hparams(SimCLR.Hparams):
        """SimCLR's, and the exponent."""

        gamma: float = setting(2.0, "exponent of the factor (1 - p)^gamma; 0: NT-Xent", low=0)

    def losses(self, pairs: Pairs) -> Tensor:
        log_p = positives(pairs.log_probabilities[1])
        return -per_image(complement(log_p) ** self.hparams.gamma * log_p)
