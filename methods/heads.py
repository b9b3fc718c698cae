"""The small networks that methods put on top of a backbone."""

from torch import nn


def mlp(width: int, hidden: int, out: int, *, final_norm: bool) -> nn.Sequential:
    """Linear, batch norm, ReLU, Linear: the projector of SimCLR and BYOL, and BYOL's predictor.

    Args:
        width: width of the input.
        hidden: width of the hidden layer.
        out: width of the output.
        final_norm: whether an affine batch norm follows, in place of the last layer's bias (SDCLR's family has it, BYOL not).
    """
    layers: list[nn.Module] = [
        nn.Linear(width, hidden),
        nn.BatchNorm1d(hidden),
        nn.ReLU(inplace=True),
        nn.Linear(hidden, out, bias=not final_norm),
    ]
    if final_norm:
        layers.append(nn.BatchNorm1d(out))
    return nn.Sequential(*layers)
