"""Projectors and predictors."""

from torch import nn


def mlp(width: int, hidden: int, out: int, *, final_norm: bool, affine: bool = True, layers: int = 2) -> nn.Sequential:
    """Linear, batch norm, ReLU, Linear: projectors and predictors of most methods.

    Args:
        width: input dimension.
        hidden: hidden dimension.
        out: output dimension.
        final_norm: whether a batch norm replaces the bias of the last layer, as in SDCLR; BYOL has the bias.
        affine: whether this batch norm has a learned scale and shift; MoCo v3 and SimSiam have none.
        layers: number of linear layers; those between the first and the last have no bias.
    """
    modules: list[nn.Module] = [nn.Linear(width, hidden), nn.BatchNorm1d(hidden), nn.ReLU(inplace=True)]
    for _ in range(layers - 2):
        modules += [nn.Linear(hidden, hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU(inplace=True)]
    modules.append(nn.Linear(hidden, out, bias=not final_norm))
    if final_norm:
        modules.append(nn.BatchNorm1d(out, affine=affine))
    return nn.Sequential(*modules)


def gelu_mlp(width: int, hidden: int, out: int, *, norm: bool) -> nn.Sequential:
    """Three linear layers with GELU between them and truncated normal initial weights of deviation 0.02: projector of DINO.

    Args:
        width: input dimension.
        hidden: hidden dimension.
        out: output dimension.
        norm: whether a batch norm precedes each GELU.
    """
    modules: list[nn.Module] = []
    for before, after in ((width, hidden), (hidden, hidden)):
        modules += [nn.Linear(before, after), *([nn.BatchNorm1d(after)] if norm else []), nn.GELU()]
    modules.append(nn.Linear(hidden, out))
    for layer in modules:
        if isinstance(layer, nn.Linear):
            nn.init.trunc_normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)
    return nn.Sequential(*modules)
