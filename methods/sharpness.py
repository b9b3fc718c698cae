"""Perturbation of the weights in sharpness-aware minimisation (SAM).

Foret et al., ICLR 2021, arXiv:2010.01412; adaptive: Kwon et al., ICML 2021, arXiv:2102.11600. The training loop adds it to the
weights before the gradient of a step is computed (`training/sharpness.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Sharpness:
    """A neighbourhood of the weights, and the point in it where the loss is highest to first order."""

    radius: float  # rho
    adaptive: bool = False  # whether distances are relative to each weight's size

    def perturbation(self, weights: Sequence[Tensor], gradients: Sequence[Tensor]) -> list[Tensor]:
        """rho g / |g|, over all weights w and their gradients g together; adaptive: rho w^2 g / |w g|. 0 where g is 0."""
        sizes = torch._foreach_abs(list(weights))
        direction = torch._foreach_mul(list(gradients), sizes) if self.adaptive else gradients
        scale = self.radius / (torch.nn.utils.get_total_norm(direction) + 1e-12)
        steps = torch._foreach_mul(list(direction), scale)
        return list(torch._foreach_mul(steps, sizes) if self.adaptive else steps)
