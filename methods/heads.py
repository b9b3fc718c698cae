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
