"""Batch norm with the statistics of the images of all processes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, distributed
from torch.nn import functional as F
from torch.nn.modules._functions import SyncBatchNorm
from torch.overrides import TorchFunctionMode

from parallel import processes


@contextmanager
def synchronized_batch_norm() -> Iterator[None]:
    """Context in which batch norms in training mode use the images of all processes. No effect in a single process.

    It replaces torch's function instead of modules, so that it holds for every network: also for timm's batch norms with
    activation, and for modules that are called with other parameters and buffers.
    """
    if processes.count() == 1:
        yield
        return
    with _Synchronized():
        yield


class _Synchronized(TorchFunctionMode):
    def __torch_function__(self, function: Callable, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None) -> Any:
        return (_batch_norm if function is F.batch_norm else function)(*args, **(kwargs or {}))


def _batch_norm(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """`torch.nn.functional.batch_norm` of the images of all processes."""
    if not training:
        return F.batch_norm(x, running_mean, running_var, weight, bias, training, momentum, eps)
    if x.is_cuda:
        layout = torch.channels_last if x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last) else None
        x = x if layout else x.contiguous()
        group = distributed.group.WORLD
        return SyncBatchNorm.apply(x, weight, bias, running_mean, running_var, eps, momentum, group, processes.count())
    return _SyncBatchNorm.apply(x, running_mean, running_var, weight, bias, momentum, eps)


class _SyncBatchNorm(torch.autograd.Function):
    """Equivalent of `torch.nn.SyncBatchNorm`, which supports GPUs only, for any device. Ioffe and Szegedy 2015."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        running_mean: Tensor | None,
        running_var: Tensor | None,
        weight: Tensor | None,
        bias: Tensor | None,
        momentum: float,
        eps: float,
    ) -> Tensor:
        own = x.transpose(0, 1).flatten(1).to(torch.promote_types(x.dtype, torch.float32))  # (C, values of this process)
        values = own.new_tensor([float(own.shape[1])])
        mean = own.mean(dim=1) if own.shape[1] else own.new_zeros(len(own))
        squares = (own - mean[:, None]).square().sum(dim=1)
        parts = processes.gather_rows(torch.cat([values, mean, squares])[None], [1] * processes.count())
        counts, means, within = parts.split([1, len(own), len(own)], dim=1)
        total = counts.sum()
        if total < 2:
            raise ValueError("batch norm needs more than one value per channel in training")
        mean = (counts * means).sum(dim=0) / total
        var = (within + counts * (means - mean).square()).sum(dim=0) / total  # Chan et al. 1983
        if running_mean is not None and running_var is not None:
            running_mean.lerp_(mean.to(running_mean.dtype), momentum)
            running_var.lerp_((var * total / (total - 1)).to(running_var.dtype), momentum)
        inverse = (var + eps).rsqrt()
        normalized = (own - mean[:, None]) * inverse[:, None]
        ctx.save_for_backward(normalized, inverse, weight, total)
        y = normalized if weight is None else normalized * weight[:, None]
        return _restored(y if bias is None else y + bias[:, None], x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        normalized, inverse, weight, total = ctx.saved_tensors
        (given,) = gradients
        dy = given.transpose(0, 1).flatten(1).to(normalized.dtype)
        sums = torch.stack([dy.sum(dim=1), (dy * normalized).sum(dim=1)])
        of_bias, of_weight = sums.clone()
        distributed.all_reduce(sums)
        mean, projection = sums / total
        scale = inverse if weight is None else inverse * weight
        dx = (dy - mean[:, None] - normalized * projection[:, None]) * scale[:, None]
        affine = weight is not None
        return _restored(dx, given), None, None, of_weight if affine else None, of_bias if affine else None, None, None


def _restored(y: Tensor, x: Tensor) -> Tensor:
    """(C, values) as a tensor of the shape, type and memory format of `x` (B, C, ...)."""
    shape = (x.shape[1], x.shape[0], *x.shape[2:])
    return torch.empty_like(x).copy_(y.view(shape).transpose(0, 1))
