"""Mean and covariance of features, accumulated block by block without a copy of all features."""

from dataclasses import dataclass

import torch
from torch import Tensor

from eval.features import LabelledFeatures


@dataclass(frozen=True)
class Moments:
    """First and second moments of n features of dimension d with C classes, in float64 on the CPU."""

    mean: Tensor  # (d,)
    covariance: Tensor  # (d, d), divided by n
    class_counts: Tensor  # (C,)
    class_sums: Tensor  # (C, d) sums of the centred features of each class


def moments(rows: LabelledFeatures, classes: int) -> Moments:
    """Computes the moments of at least one feature. Labels are 0 to `classes` - 1; classes may be empty.

    Features are shifted by the mean of the first block, to avoid cancellation when they are far from zero.
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
