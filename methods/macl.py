"""MACL: a temperature that rises with the alignment of the positives, and a weight that cancels the decay of the gradient.

Huang et al., ICML 2023, arXiv:2207.07874. Reference: chenhaoxing/MACL @ 82d3fb5. With A the mean cosine of the positives of the
batch the temperature is tau (1 + alpha (A - threshold)): low while the network is poorly trained, higher later, when similar
negatives may be of the same class. Each NT-Xent term is divided by 1 - p, with p the probability of the positive; so it has
DCL's gradient at this temperature. Temperature and divisor are constants in the gradient. The reference has no defaults; those
here are lightly's. Deviation: the factor of the temperature is at least 0.01, so that no setting makes it 0.
"""

from dataclasses import dataclass

from torch import Tensor

from core.settings import setting
from methods.base import register
from methods.contrastive import Pairs
from methods.losses import complement, per_image, positives
from methods.schedules import MIN_TEMPERATURE, Temperature
from methods.simclr import SimCLR


@register("macl", title="MACL", paper="Huang et al., ICML 2023, arXiv:2207.07874", suite=False, group="baselines")
class MACL(SimCLR):
    """SimCLR with an alignment-adaptive temperature and reweighted gradients."""

    @dataclass(frozen=True)
    class Hparams(SimCLR.Hparams):
        """SimCLR's, with the defaults of lightly."""

        temperature: Temperature = setting(0.1, "temperature at the threshold, or its schedule", low=MIN_TEMPERATURE)
        alpha: float = setting(0.5, "relative increase of the temperature per unit of alignment; 0: none", 0, 1)
        threshold: float = setting(0.0, "alignment (mean cosine of the positives) without a change of the temperature", 0, 1)

    def losses(self, pairs: Pairs) -> Tensor:
        h, (similarity, _) = self.hparams, pairs.log_probabilities
        alignment = (per_image(positives(similarity)) * pairs.tau).mean().detach()
        factor = (1 + h.alpha * (alignment - h.threshold)).clamp(min=0.01)
        log_p = positives((similarity / factor).log_softmax(dim=1))
        return -per_image(log_p / complement(log_p).detach())
