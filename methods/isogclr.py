"""iSogCLR: each image has its own temperature, learned from a robust contrastive loss.

Qiu et al., ICML 2023, arXiv:2305.11965 (unimodal), the published relative of TASE. Reference:
zhqiu/contrastive-learning-iSogCLR @ c20903b, `SogCLR_DRO_Loss`. The robust loss of a view with cosine h to its positive and h_j
to the views of other images is min over tau of tau log mean_j exp((h_j - h) / tau) + tau rho. A moving average s over the
image's batches approximates the mean of exp(h_j / tau) over the data set. `objective` returns a loss with the gradient of the
robust loss, not its value. The temperature follows its gradient log s + rho - mean_j exp(h_j / tau) h_j / (s tau): it rises
for images with many similar negatives, of frequent classes, and falls for others; so the tail score is minus the temperature.
Deviations: projector and recipe of this suite's SimCLR.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from core.errors import UserError
from core.settings import setting
from methods.base import Output, register
from methods.losses import log_probabilities, negatives, per_image, positives
from methods.memory import SampleMemory
from methods.simclr import SimCLR

LOWEST = 0.02  # temperature: exp(1 / tau) has to fit into float32
LARGEST_GRADIENT = 3.0  # of a temperature


@register("isogclr", title="iSogCLR", paper="Qiu et al., ICML 2023, arXiv:2305.11965", suite=False)
class ISogCLR(SimCLR):
    """SimCLR with learned temperatures."""

    @dataclass(frozen=True)
    class Hparams(SimCLR.Hparams):
        """Defaults of the command for CIFAR-100 in the reference."""

        temperature: float = setting(0.1, "temperature of every image at the start", low=LOWEST)
        rho: float = setting(0.4, "weight of the temperature in the loss; a higher one lowers temperatures", low=0)
        gamma: float = setting(0.8, "weight of the batch in the moving average of an image's negatives", 1e-3, 1)
        beta: float = setting(0.5, "weight of the batch in the moving average of a temperature's gradient", 1e-3, 1)
        eta: float = setting(0.03, "step size of the temperatures; 0: they are constant", low=0)
        tau_min: float = setting(0.05, "lowest temperature", low=LOWEST)
        tau_max: float = setting(1.0, "highest temperature", low=LOWEST)

    def build(self, width: int) -> None:
        super().build(width)
        h, samples = self.hparams, self.scale.samples
        if not h.tau_min <= h.temperature <= h.tau_max:
            limits = f"tau_min={h.tau_min} and tau_max={h.tau_max}"
            raise UserError(f"{self.name}.temperature={h.temperature} is not between {limits}; change one of them")
        self.memory = SampleMemory(samples, 1 - h.gamma)
        # index -1, an image of an OOD pool, uses the last entries, which are then reset
        self.register_buffer("temperature", torch.full((samples + 1,), float(h.temperature)))
        self.register_buffer("gradient", torch.zeros(samples + 1))
        self.temperature: Tensor
        self.gradient: Tensor

    def objective(self, embeddings: tuple[Tensor, ...], index: Tensor, epoch: int) -> Output:
        """Sum of both views' losses, as in the reference, and a step of the temperatures of the batch's images."""
        z1, z2 = embeddings
        cosine, _ = log_probabilities(z1, z2, 1.0)
        tau = self.temperature[index]
        each = tau.repeat(2)[:, None]
        count = len(cosine) - 2
        exponentials = (negatives(cosine.detach()) / each).exp()
        now = exponentials.sum(dim=1).view(2, -1) / count
        average = torch.where(self.memory.seen[index], torch.lerp(now, self.memory[index], self.memory.momentum), now)
        weights = exponentials / (count * average.view(-1, 1))
        attracted = (weights * cosine.clamp(min=-1)).sum(dim=1)  # clamp: a view's -inf with itself, whose weight is 0
        losses = 2 * per_image(attracted - positives(cosine))
        slope = per_image(average.log().view(-1) + self.hparams.rho - attracted.detach() / each[:, 0])
        self.memory.update(index, now.mean(dim=0))
        self._step(index, slope.clamp(-LARGEST_GRADIENT, LARGEST_GRADIENT))
        return Output(losses.mean(), -self.temperature[index])

    def _step(self, index: Tensor, slope: Tensor) -> None:
        """Moves the temperatures of the images `index` against the moving average of (B,) gradients."""
        h = self.hparams
        self.gradient[index] = torch.lerp(self.gradient[index], slope.to(self.gradient), h.beta)
        self.temperature[index] = (self.temperature[index] - h.eta * self.gradient[index]).clamp(h.tau_min, h.tau_max)
        self.gradient[-1:].zero_()
        self.temperature[-1:].fill_(h.temperature)

    def sample_state(self) -> Mapping[str, Tensor]:
        """The temperature of each image."""
        return {"temperature": self.temperature[:-1]}
