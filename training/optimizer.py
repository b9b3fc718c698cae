"""From a recipe to an optimiser over a method's parameters."""

from functools import partial
from typing import Any

import timm.optim.muon
import torch
from timm.optim import create_optimizer_v2, param_groups_weight_decay

from data.recipe import Recipe
from methods import Method

# timm's names and settings; its plain "sgd" is Nesterov's
OPTIMIZERS: dict[str, dict[str, Any]] = {
    "sgd": {"opt": "momentum", "momentum": 0.9, "fused": True},
    "adamw": {"opt": "adamw", "fused": True},
}
MUON: dict[str, Any] = {
    "momentum": 0.95,
    "ns_steps": 3,
    "ns_coefficients": "original",
    "adjust_lr_fn": "match_rms_adamw",
    "fallback_lr_scale": 0.2,
}


class Muon(timm.optim.Muon):
    """timm's Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon), orthogonalising at the run's precision.

    timm's own always computes in bfloat16. Processors without bfloat16 units take a hundred times as long for that: 1 s a step
    of the cpu preset, whose forward and backward pass takes 0.12 s there.

    Steps are scaled to the size of AdamW's (arXiv:2502.16982). Three iterations with the coefficients of Jordan et al. bring
    singular values from 0.02 to 1 times the norm to between 0.7 and 1.2, as five do, in 0.6 of the time. AdamW, at a fifth of
    the rate, updates norms, biases, and matrices that timm finds unfit (a side below 4, or an aspect ratio above 128).
    Departure: plain momentum where Jordan et al. have Nesterov's, as is timm's default.
    """

    def __init__(self, groups: list[dict[str, Any]], lr: float, weight_decay: float, dtype: torch.dtype):
        super().__init__(groups, lr=lr, weight_decay=weight_decay, **MUON)
        self._orthogonalize = partial(timm.optim.muon.zeropower_via_newtonschulz, dtype=dtype)

    def step(self, closure: Any = None) -> Any:
        """One step; for its duration timm's function has this optimiser's type."""
        original = timm.optim.muon.zeropower_via_newtonschulz
        timm.optim.muon.zeropower_via_newtonschulz = self._orthogonalize
        try:
            return super().step(closure)
        finally:
            timm.optim.muon.zeropower_via_newtonschulz = original


def build_optimizer(method: Method, recipe: Recipe, precision: str) -> torch.optim.Optimizer:
    """An optimiser over the method's trainable parameters, as `recipe` says.

    Norms and biases decay only where the method's reference has it so, and never under Muon, whose decay is for matrices.

    Args:
        method: whose parameters.
        recipe: of the run.
        precision: of the run, "fp32" or "bf16".
    """
    if method.decay_norm_and_bias and recipe.optimizer != "muon":
        parameters = [p for p in method.parameters() if p.requires_grad]
        groups = [{"params": parameters, "weight_decay": recipe.weight_decay}]
    else:
        groups = param_groups_weight_decay(method, recipe.weight_decay)
    if recipe.optimizer == "muon":
        return Muon(groups, recipe.lr, recipe.weight_decay, torch.bfloat16 if precision == "bf16" else torch.float32)
    return create_optimizer_v2(groups, lr=recipe.lr, weight_decay=recipe.weight_decay, **OPTIMIZERS[recipe.optimizer])


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Gives every parameter group the same learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate
