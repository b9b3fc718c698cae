"""Embeddings for tests of contrastive losses, and the loss of a method on them."""

from collections.abc import Callable
from math import exp
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from methods.contrastive import Contrastive, Pairs
from tests.runs import small_config
from training.prepare import build_method


def embeddings(count: int = 6, width: int = 5, seed: int = 0) -> tuple[Tensor, Tensor]:
    """(count, width) embeddings of two views in float64, with gradients."""
    torch.manual_seed(seed)
    z1 = torch.randn(count, width, dtype=torch.float64)
    z2 = 0.6 * z1 + 0.8 * torch.randn(count, width, dtype=torch.float64)
    return z1.requires_grad_(), z2.requires_grad_()


def losses_of(name: str, z1: Tensor, z2: Tensor, tau: float | Tensor | None = None, **hparams: Any) -> Tensor:
    """(B,) losses of the method `name`; `tau` is its own unless given."""
    method = build_method(small_config(name, hparams=hparams), 20)
    assert isinstance(method, Contrastive)
    return method.losses(Pairs(z1, z2, method.tau(0) if tau is None else tau, torch.arange(len(z1)), 0))


def gradients(losses: Tensor, *z: Tensor) -> Tensor:
    """Gradients of the mean loss with respect to the embeddings, one after the other."""
    return torch.cat(torch.autograd.grad(losses.mean(), z, retain_graph=True))


def by_anchor(z1: Tensor, z2: Tensor, tau: float, loss: Callable[[float, list[float], float], float]) -> list[float]:
    """Means over both anchors of each image.

    `loss` gets exp(cosine / tau) of the positive, those of the 2B - 2 negatives, and the cosine of the positive.
    """
    z, B = [F.normalize(v, dim=0) for v in (*z1.detach(), *z2.detach())], len(z1)
    found = []
    for i in range(B):
        anchors = []
        for a, p in ((i, i + B), (i + B, i)):
            others = [exp(float(z[a] @ z[j]) / tau) for j in range(2 * B) if j % B != i]
            cosine = float(z[a] @ z[p])
            anchors.append(loss(exp(cosine / tau), others, cosine))
        found.append(sum(anchors) / 2)
    return found


def difference_to_golden(golden: dict[str, Tensor], name: str, losses: Tensor, *z: Tensor) -> float:
    """Largest difference of the mean loss and its gradients to the reference's in `tests/golden/losses.npz`."""
    expected = torch.cat([golden[f"{name}_grad1"], golden[f"{name}_grad2"]])
    of_loss = (losses.detach().mean() - golden[f"{name}_loss"]).abs()
    return torch.maximum(of_loss, (gradients(losses, *z) - expected).abs().max()).item()
