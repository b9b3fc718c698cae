"""Means and covariance of many features in one pass, block by block: no copy of all of them is made."""

from dataclasses import dataclass

import torch
from torch import Tensor

from eval.features import Rows


@dataclass(frozen=True)
class Moments:
    """Sums over n features of d dimensions and C classes, all in float64 on the CPU."""

    mean: Tensor  # (d,)
    covariance: Tensor  # (d, d), divided by n
    class_counts: Tensor  # (C,)
    class_sums: Tensor  # (C, d) of the differences to `mean`, by class


def moments(rows: Rows, classes: int) -> Moments:
    """Takes the moments of at least one row. Labels are from 0 to `classes` - 1; some may not occur.

    Sums are taken about the mean of the first block, so that features far from zero cost no digits.
    """
    width = rows.bank.shape[1]
    shift, total = torch.zeros(width).double(), torch.zeros(width, width).double()
    sums, counts = torch.zeros(classes, width).double(), torch.bincount(rows.labels, minlength=classes).double()
    for number, (x, y) in enumerate(rows.blocks()):
        x = x.double()
        if number == 0:
            shift = x.mean(dim=0)
        x -= shift
        total.addmm_(x.T, x)
        sums.index_add_(0, y, x)
    offset = sums.sum(dim=0) / len(rows)
    covariance = total.div_(len(rows)).sub_(torch.outer(offset, offset))
    return Moments(shift + offset, covariance, counts, sums - torch.outer(counts, offset))
