"""The small networks that methods put on top of a backbone."""

from torch import nn


def mlp(width: int, hidden: int, out: int, *, final_norm: bool, layers: int = 2) -> nn.Sequential:
    """Linear, batch norm, ReLU, Linear: the projector of SimCLR and BYOL, and BYOL's predictor.

    Args:
        width: width of the input.
        hidden: width of the hidden layer.
        out: width of the output.
        final_norm: whether an affine batch norm follows, in place of the last layer's bias (SDCLR's family has it, BYOL not).
        layers: linear layers; those between the first and the last keep `hidden` and have no bias.
    """
    modules: list[nn.Module] = [nn.Linear(width, hidden), nn.BatchNorm1d(hidden), nn.ReLU(inplace=True)]
    for _ in range(layers - 2):
        modules += [nn.Linear(hidden, hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU(inplace=True)]
    modules.append(nn.Linear(hidden, out, bias=not final_norm))
    if final_norm:
        modules.append(nn.BatchNorm1d(out))
    return nn.Sequential(*modules)
