"""Linear support vector machines, one class against the rest, for any number of images and classes.

The problem is that of scikit-learn's LinearSVC with its defaults. For each class, with labels y = 1 for its images and -1 for
the others, it minimises ||w||^2 / 2 + C sum_i max(0, 1 - y_i w x_i)^2, where x ends in a 1 for the bias and C = 1. LinearSVC
solves one class after another on one core, which takes hours with thousands of classes. Here L-BFGS minimises the sum over all
classes, by two matrix products per evaluation, on any device.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from eval.features import BLOCK, LabelledFeatures

EVALUATIONS = 150  # at most, of objective and gradient in an attempt; 40 to 60 are usual
ATTEMPTS = 3  # rounding of float32 can end a line search early; the next starts without its history
TOLERANCE = 1e-5  # of the largest element of the gradient, relative to that of the zero solution
ENTRIES = 2**24  # scores computed at a time


@dataclass(frozen=True)
class LinearSVM:
    """Linear classifiers of features of unit length."""

    weight: Tensor  # (d + 1, C) float32 on a device; the last row is the bias
    converged: bool

    def predict(self, rows: LabelledFeatures) -> NDArray[np.int64]:
        """Classes with the highest score, (n,)."""
        found = [(x.to(self.weight.device) @ self.weight).argmax(dim=1).cpu() for x in _blocks(rows)]
        return torch.cat(found).numpy()


def fit(train: LabelledFeatures, classes: int, device: torch.device) -> LinearSVM:
    """Fits one classifier per class to L2-normalised features; a class without images is never predicted.

    L-BFGS is preconditioned by the Cholesky factor of I + 2 sum_i x_i x_i^T, which bounds the Hessian of every class, as unit
    features of networks with ReLU have a large common component. One copy of the features is held on `device`.
    """
    x = torch.cat([block.to(device) for block in _blocks(train)])
    labels = train.labels.to(device)
    bound = torch.eye(x.shape[1], dtype=torch.float64, device=device)
    for block in x.split(BLOCK):
        bound.addmm_(block.double().T, block.double(), alpha=2)
    factor = torch.linalg.cholesky(bound).to(x.dtype)
    scaled = torch.zeros(x.shape[1], classes, device=device)
    rows = max(1, ENTRIES // classes)

    def weight() -> Tensor:
        return torch.linalg.solve_triangular(factor.T, scaled, upper=True)

    @torch.no_grad()
    def evaluate() -> Tensor:
        w = weight()
        loss, gradient = w.square().sum(dtype=torch.float64) / 2, w.clone()
        for block, label in zip(x.split(rows), labels.split(rows), strict=True):
            scores = block @ w
            sign = torch.full_like(scores, -1).scatter_(1, label[:, None], 1)
            violation = (1 - sign * scores).clamp_(min=0)
            loss += violation.square().sum(dtype=torch.float64)
            gradient.addmm_(block.T, violation.mul_(sign), alpha=-2)
        scaled.grad = torch.linalg.solve_triangular(factor, gradient, upper=False).contiguous()
        return loss

    def steepest() -> float:
        evaluate()
        assert scaled.grad is not None
        return float(scaled.grad.abs().max())

    enough = TOLERANCE * steepest()
    for _ in range(ATTEMPTS):
        optimizer = torch.optim.LBFGS(
            [scaled],
            max_iter=EVALUATIONS,
            max_eval=EVALUATIONS,
            tolerance_grad=enough,
            tolerance_change=0,
            history_size=10,
            line_search_fn="strong_wolfe",
        )
        optimizer.step(evaluate)  # type: ignore[arg-type]  # a loss as a tensor is converted
        if converged := steepest() <= enough:
            break
    found = weight()
    found[-1, torch.bincount(labels, minlength=classes) == 0] = -torch.inf
    return LinearSVM(found, converged)


def _blocks(rows: LabelledFeatures) -> Iterator[Tensor]:
    """Unit features with a 1 appended, block by block."""
    for x, _ in rows.blocks():
        yield F.pad(F.normalize(x, dim=1, out=x), (0, 1), value=1.0)
