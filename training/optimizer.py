"""From a recipe to an optimiser over a method's parameters."""

import torch
from timm.optim import create_optimizer_v2, param_groups_weight_decay

from data.recipe import Recipe
from methods import Method

TIMM_NAMES = {"sgd": "momentum", "adamw": "adamw"}  # timm's plain "sgd" is Nesterov's


def build_optimizer(method: Method, recipe: Recipe) -> torch.optim.Optimizer:
    """An optimiser over the method's trainable parameters, as `recipe` says; norms and biases decay only where it does."""
    if method.decay_norm_and_bias:
        parameters = [p for p in method.parameters() if p.requires_grad]
        groups = [{"params": parameters, "weight_decay": recipe.weight_decay}]
    else:
        groups = param_groups_weight_decay(method, recipe.weight_decay)
    name = TIMM_NAMES[recipe.optimizer]
    return create_optimizer_v2(groups, opt=name, lr=recipe.lr, weight_decay=recipe.weight_decay, momentum=0.9, fused=True)


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Gives every parameter group the same learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate
