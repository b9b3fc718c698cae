"""Sharpness-aware minimisation (SAM): the gradient of a step is computed at perturbed weights.

A method with `sharpness` has two forward and backward passes per step: one at the weights, of its `ascent`, and one at the
perturbed weights, of its `objective`, whose gradient the optimiser applies to the weights themselves. Both have the same views
and the same random numbers. Running statistics of batch norms are those of the first pass.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import torch

from data.loader import Batch
from methods import Method
from training.gradients import backward, unchanged_statistics


@contextmanager
def perturbed(method: Method, batch: Batch, autocast: AbstractContextManager, accumulate: int) -> Iterator[None]:
    """Context in which the weights are perturbed; no effect for a method without `sharpness`.

    The gradient that sets the perturbation is that of the whole batch, also of several processes or in parts.

    Args:
        method: of the run, without gradients.
        batch: as in `backward`, like the next two.
        autocast: context.
        accumulate: parts of the batch.
    """
    if method.sharpness is None:
        yield
        return
    seed = torch.initial_seed()
    backward(method, batch, autocast, accumulate, method.ascent)
    with_gradient = [(parameter.detach(), parameter.grad) for parameter in method.parameters() if parameter.grad is not None]
    weights, gradients = map(list, zip(*with_gradient, strict=True))
    before = [weight.clone() for weight in weights]
    torch._foreach_add_(weights, method.sharpness.perturbation(weights, gradients))
    method.zero_grad()
    torch.manual_seed(seed)
    with unchanged_statistics(method):
        yield
    torch._foreach_copy_(weights, before)
