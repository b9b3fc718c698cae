"""Momentum encoder: an exponential moving average (EMA) of networks, as in MoCo and BYOL.

A method makes the copies in `build` with `ema_copy`, keeps them as attributes, and updates them in `after_step` with
`ema_update`.
"""

import copy
import math
from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)


def ema_copy(network: Network) -> Network:
    """A copy with the same weights and buffers, whose parameters get no gradient."""
    return copy.deepcopy(network).requires_grad_(False)


@torch.no_grad()
def ema_update(targets: Sequence[nn.Module], sources: Sequence[nn.Module], momentum: float) -> None:
    """Sets each parameter of the target networks to momentum * target + (1 - momentum) * source, all in one fused operation.

    Buffers are left alone: the running statistics of a target's batch norms come from its own forward passes in train mode, as
    in vturrisi/solo-learn @ 9187ea3, `solo/utils/momentum.py`.

    Args:
        targets: networks made by `ema_copy`.
        sources: the networks that they follow, in the same order.
        momentum: decay in [0, 1]; 1 leaves the targets as they are.

    Raises:
        ValueError: targets and sources differ in their number of parameters.
    """
    averages: list[Tensor] = [parameter for network in targets for parameter in network.parameters()]
    values: list[Tensor] = [parameter for network in sources for parameter in network.parameters()]
    if len(averages) != len(values):
        raise ValueError(f"{len(averages)} parameters in the targets, {len(values)} in the sources")
    torch._foreach_lerp_(averages, values, 1 - momentum)


def cosine_momentum(start: float, step: int, steps: int, end: float = 1.0) -> float:
    """Decay after optimiser step `step` (from 0) of `steps`: end - (end - start) (1 + cos(pi step / steps)) / 2.

    Grill et al. 2020, section 3.2. `end` equal to `start` is a constant momentum, as in MoCo.
    """
    return end - (end - start) * (math.cos(math.pi * step / steps) + 1) / 2
