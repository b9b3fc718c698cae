"""A network's competitor: its own weights with the smallest ones masked, and batch norms of its own.

Jiang et al., ICML 2021, arXiv:2106.02990; VITA-Group/SDCLR, `prune/mask.py` and `models/resnet_prune_multibn.py`.
"""

import copy
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm

from core.errors import UserError

Convolution = nn.Conv1d | nn.Conv2d | nn.Conv3d


class Competitor(nn.Module):
    """Runs another module with masked convolution weights and with batch norms that are this module's own.

    Everything else is shared, and gradients reach the shared weights through the mask. The masks are buffers and the norms
    parameters and buffers of this module, the other module is not part of its state. On a module without convolutions only
    the norms differ.
    """

    def __init__(self, module: nn.Module):
        """Begins with nothing masked and with copies of `module`'s batch norms."""
        super().__init__()
        self._norm_names = [name for name, part in module.named_modules() if isinstance(part, _BatchNorm)]
        self._masked_names = [f"{name}.weight" for name, part in module.named_modules() if isinstance(part, Convolution)]
        self.norms = nn.ModuleList(copy.deepcopy(module.get_submodule(name)) for name in self._norm_names)
        for name in self._masked_names:
            self.register_buffer(_buffer(name), torch.ones_like(module.get_parameter(name), dtype=torch.bool))

    @property
    def masks(self) -> list[Tensor]:
        """One bool tensor a convolution: True where its weight takes part."""
        return [self.get_buffer(_buffer(name)) for name in self._masked_names]

    def forward(self, module: nn.Module, x: Tensor) -> Tensor:
        """`module(x)` with this competitor's masks and norms."""
        replaced = {}
        for name, mask in zip(self._masked_names, self.masks, strict=True):
            replaced[name] = module.get_parameter(name) * mask
        for name, norm in zip(self._norm_names, self.norms, strict=True):
            for key, tensor in (*norm.named_parameters(), *norm.named_buffers()):
                replaced[f"{name}.{key}"] = tensor
        return functional_call(module, replaced, (x,))

    @torch.no_grad()
    def prune(self, module: nn.Module, fraction: float) -> None:
        """Sets the masks anew: over all convolution weights together, the `fraction` smallest by magnitude are masked."""
        weights = [module.get_parameter(name) for name in self._masked_names]
        for mask, kept in zip(self.masks, magnitude_masks(weights, fraction), strict=True):
            mask.copy_(kept)


def _buffer(name: str) -> str:
    return "mask-" + name.replace(".", "-")  # a buffer's name has no dot; underscores are in modules' names


def magnitude_masks(weights: Sequence[Tensor], fraction: float) -> list[Tensor]:
    """Masks of the weights that stay when the ceil(fraction * n) smallest of all n are pruned.

    Args:
        weights: tensors of any shapes, n numbers in all.
        fraction: in [0, 1).

    Returns:
        A bool tensor each: True where |w| is at least the threshold, the magnitude that follows those pruned. Weights of
        equal magnitude stay or go together.
    """
    magnitudes = torch.cat([weight.detach().abs().flatten() for weight in weights])
    pruned = min(math.ceil(fraction * len(magnitudes)), len(magnitudes) - 1)
    threshold = magnitudes.sort().values[pruned]
    return [weight.detach().abs() >= threshold for weight in weights]


def check_prunable(backbone: nn.Module) -> None:
    """Raises UserError for a network without convolutions or without batch norm, which has no competitor of this kind."""
    for what, wanted in (("convolutions", Convolution), ("batch norm", _BatchNorm)):
        if not any(isinstance(part, wanted) for part in backbone.modules()):
            raise UserError(
                f"SDCLR needs a backbone with convolutions and batch norm, and this one has no {what}; use a ResNet or another "
                "convolutional network of timm"
            )
