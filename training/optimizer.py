"""From a recipe to an optimiser over a method's parameters."""

from typing import Any

import torch
from timm.optim import create_optimizer_v2, param_groups_weight_decay

from data.recipe import Recipe
from methods import Method

# timm's names and settings; its plain "sgd" is Nesterov's
OPTIMIZERS: dict[str, dict[str, Any]] = {
    "sgd": {"opt": "momentum", "momentum": 0.9, "fused": True},
    "adamw": {"opt": "adamw", "fused": True},
    # Jordan et al. 2024, https://kellerjordan.github.io/posts/muon; steps scaled to those of AdamW (arXiv:2502.16982). Three of
    # their Newton-Schulz iterations bring singular values of 0.02 to 1 times the norm to between 0.7 and 1.2, as five do, in
    # 0.6 of the time. Norms and biases are updated by AdamW.
    "muon": {
        "opt": "muon",
        "momentum": 0.95,
        "ns_steps": 3,
        "ns_coefficients": "original",
        "adjust_lr_fn": "match_rms_adamw",
        "fallback_lr_scale": 0.2,
    },
}


def build_optimizer(method: Method, recipe: Recipe) -> torch.optim.Optimizer:
    """An optimiser over the method's trainable parameters, as `recipe` says.

    Norms and biases decay only where the method's reference has it so, and never under Muon, whose decay is for matrices.
    """
    if method.decay_norm_and_bias and recipe.optimizer != "muon":
        parameters = [p for p in method.parameters() if p.requires_grad]
        groups = [{"params": parameters, "weight_decay": recipe.weight_decay}]
    else:
        groups = param_groups_weight_decay(method, recipe.weight_decay)
    return create_optimizer_v2(groups, lr=recipe.lr, weight_decay=recipe.weight_decay, **OPTIMIZERS[recipe.optimizer])


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Gives every parameter group the same learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate
