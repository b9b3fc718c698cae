"""Objectives of the baselines on given embeddings, against reference code and loops."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from methods import Method, Output
from methods.queue import Queue
from tests.runs import small_config
from training.prepare import build_method

GOLDEN = np.load(Path(__file__).parent / "golden" / "baselines.npz")
BATCH, WIDTH = GOLDEN["z1"].shape


def built(name: str, **hparams: float) -> Method:
    """The method in float64, in train mode."""
    return build_method(small_config(name, hparams=hparams), samples=100).double().train()


def golden_embeddings(*names: str) -> dict[str, Tensor]:
    """Leaves with gradient."""
    return {name: torch.tensor(GOLDEN[name], requires_grad=True) for name in names}


def golden_queue() -> Queue:
    """The queue of the golden file."""
    queue = Queue(len(GOLDEN["queue"]), WIDTH, samples=100).double()
    queue.vectors.copy_(torch.from_numpy(GOLDEN["queue"]))
    return queue


def objective(method: Method, *embeddings: Tensor) -> Output:
    """The objective of a batch in the first epoch."""
    return method.objective(embeddings, torch.arange(len(embeddings[0])), 0)


def largest_difference(method: Method, embeddings: dict[str, Tensor], shift: float = 0.0) -> float:
    """Largest difference of loss and gradients from those of the reference, whose loss is smaller by `shift`."""
    loss = objective(method, *embeddings.values()).loss
    loss.backward()
    differences = [abs(loss.item() - shift - float(GOLDEN[f"{method.name}_loss"]))]
    for key, z in embeddings.items():
        gradient = torch.zeros_like(z) if z.grad is None else z.grad
        differences.append(np.abs(gradient.numpy() - GOLDEN[f"{method.name}_grad_{key}"]).max())
    return max(differences)


def cosine(a: Tensor, b: Tensor) -> float:
    """Cosine similarity of two vectors, by sums over their elements."""
    dot, aa, bb = (sum(x * y for x, y in zip(u.tolist(), v.tolist(), strict=True)) for u, v in ((a, b), (a, a), (b, b)))
    return dot / (aa * bb) ** 0.5


def layers(head: torch.nn.Module) -> list[str]:
    """Names of the layers of a projector or predictor, and their number of outputs where they have one."""
    return [f"{type(layer).__name__} {getattr(layer, 'out_features', '')}".strip() for layer in head.children()]
