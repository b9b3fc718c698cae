"""The pruned competitor of SDCLR: shared weights with a magnitude mask, and separate batch norms.

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
    """Runs another module with masked convolution weights and separate batch norms.

    All other parameters are shared, and gradients flow to the shared weights through the mask. Masks and batch norms are part
    of this module's state; the other module is not. For a module without convolutions, only the batch norms differ.
    """

    def __init__(self, module: nn.Module):
        """Starts with pruning ratio 0 and copies of `module`'s batch norms."""
        super().__init__()
        self._norm_names = [name for name, part in module.named_modules() if isinstance(part, _BatchNorm)]
        self._masked_names = [f"{name}.weight" for name, part in module.named_modules() if isinstance(part, Convolution)]
        self.norms = nn.ModuleList(copy.deepcopy(module.get_submodule(name)) for name in self._norm_names)
        for name in self._masked_names:
            self.register_buffer(_buffer(name), torch.ones_like(module.get_parameter(name), dtype=torch.bool))

    @property
    def masks(self) -> list[Tensor]:
        """One bool tensor per convolution: True for weights that are kept."""
        return [self.get_buffer(_buffer(name)) for name in self._masked_names]

    def forward(self, module: nn.Module, x: Tensor) -> Tensor:
        """Computes `module(x)` with these masks and batch norms."""
        replaced = {}
        for name, mask in zip(self._masked_names, self.masks, strict=True):
            replaced[name] = module.get_parameter(name) * mask
        for name, norm in zip(self._norm_names, self.norms, strict=True):
            for key, tensor in (*norm.named_parameters(), *norm.named_buffers()):
                replaced[f"{name}.{key}"] = tensor
        return functional_call(module, replaced, (x,))

    @torch.no_grad()
    def prune(self, module: nn.Module, fraction: float) -> None:
        """Updates the masks: prunes the `fraction` of smallest magnitude among all convolution weights (global pruning)."""
        weights = [module.get_parameter(name) for name in self._masked_names]
        for mask, kept in zip(self.masks, magnitude_masks(weights, fraction), strict=True):
            mask.copy_(kept)


def _buffer(name: str) -> str:
    return "mask-" + name.replace(".", "-")  # buffer names must not contain dots, and module names contain underscores


def magnitude_masks(weights: Sequence[Tensor], fraction: float) -> list[Tensor]:
    """Masks for global magnitude pruning of the ceil(fraction * n) smallest of n weights.

    Args:
        weights: tensors of any shapes with n elements in total.
        fraction: pruning ratio in [0, 1).

    Returns:
        One bool tensor per weight tensor: True where |w| is at least the threshold, the smallest kept magnitude. Ties are kept
        or pruned together.
    """
    magnitudes = torch.cat([weight.detach().abs().flatten() for weight in weights])
    pruned = min(math.ceil(fraction * len(magnitudes)), len(magnitudes) - 1)
    threshold = magnitudes.sort().values[pruned]
    return [weight.detach().abs() >= threshold for weight in weights]


def check_prunable(backbone: nn.Module) -> None:
    """Raises UserError for a network without convolutions or batch norm."""
    for what, wanted in (("convolutions", Convolution), ("batch norm", _BatchNorm)):
        if not any(isinstance(part, wanted) for part in backbone.modules()):
            raise UserError(
                f"SDCLR needs a backbone with convolutions and batch norm, and this one has no {what}; use a ResNet or another "
                "convolutional timm model"
            )
