"""Optimisers of a recipe: SGD, AdamW, Muon, LARS."""

from functools import partial
from typing import Any

import timm.optim.muon
import torch
from timm.optim import create_optimizer_v2, param_groups_weight_decay

from data.recipe import Recipe
from methods import Method

# names and arguments of timm, whose "sgd" uses Nesterov momentum
OPTIMIZERS: dict[str, dict[str, Any]] = {
    "sgd": {"opt": "momentum", "momentum": 0.9, "fused": True},
    "adamw": {"opt": "adamw", "fused": True},
    "lars": {"opt": "lars", "momentum": 0.9},  # You et al. 2017, arXiv:1708.03888; for batches of thousands of images
}
UNDECAYED = ("muon", "lars")  # optimisers that never decay norms and biases; LARS does not adapt their rate either
MUON: dict[str, Any] = {
    "momentum": 0.95,
    "ns_steps": 3,
    "ns_coefficients": "original",
    "adjust_lr_fn": "match_rms_adamw",
    "fallback_lr_scale": 0.2,
}


class Muon(timm.optim.Muon):
    """timm's Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon), orthogonalising at the run's precision.

    timm's Muon always orthogonalises in bfloat16, which takes 100 times as long on CPUs without bfloat16 arithmetic: 1 s per
    step of the cpu preset, where the forward and backward pass takes 0.12 s.

    Updates are scaled to the RMS of AdamW's (arXiv:2502.16982). Three Newton-Schulz iterations with the coefficients of Jordan
    et al. map singular values of 0.02 to 1 times the norm to between 0.7 and 1.2, as five do, in 0.6 of the time. AdamW, at a
    fifth of the learning rate, updates norms, biases, and matrices that timm excludes (a side below 4, or an aspect ratio above
    128). Deviation: plain momentum as in timm's default, where Jordan et al. use Nesterov momentum.
    """

    def __init__(self, groups: list[dict[str, Any]], lr: float, weight_decay: float, dtype: torch.dtype):
        super().__init__(groups, lr=lr, weight_decay=weight_decay, **MUON)
        self._orthogonalize = partial(timm.optim.muon.zeropower_via_newtonschulz, dtype=dtype)

    def step(self, closure: Any = None) -> Any:
        """Runs one step, during which timm's orthogonalisation is replaced by one at this optimiser's precision."""
        original = timm.optim.muon.zeropower_via_newtonschulz
        timm.optim.muon.zeropower_via_newtonschulz = self._orthogonalize
        try:
            return super().step(closure)
        finally:
            timm.optim.muon.zeropower_via_newtonschulz = original


def build_optimizer(method: Method, recipe: Recipe, precision: str) -> torch.optim.Optimizer:
    """Builds the optimiser of `recipe` over the trainable parameters of the method.

    Weight decay applies to norms and biases only if the method's reference applies it (`decay_norm_and_bias`), and never with
    Muon and LARS.

    Args:
        method: of the run.
        recipe: of the run.
        precision: of the run.
    """
    if method.decay_norm_and_bias and recipe.optimizer not in UNDECAYED:
        parameters = [p for p in method.parameters() if p.requires_grad]
        groups = [{"params": parameters, "weight_decay": recipe.weight_decay}]
    else:
        groups = param_groups_weight_decay(method, recipe.weight_decay)
    if recipe.optimizer == "muon":
        return Muon(groups, recipe.lr, recipe.weight_decay, torch.bfloat16 if precision == "bf16" else torch.float32)
    return create_optimizer_v2(groups, lr=recipe.lr, weight_decay=recipe.weight_decay, **OPTIMIZERS[recipe.optimizer])


def training_bytes(method: Method, optimizer: str) -> int:
    """Least memory for training a method: parameters, gradients, optimiser state and buffers, without activations."""
    states = 2 if optimizer == "adamw" else 1
    trained = sum(p.numel() * p.element_size() for p in method.parameters() if p.requires_grad)
    fixed = sum(t.numel() * t.element_size() for t in (*method.parameters(), *method.buffers()))
    return fixed + (1 + states) * trained


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Sets the learning rate of all parameter groups."""
    for group in optimizer.param_groups:
        group["lr"] = rate
