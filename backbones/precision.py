"""Precision of networks: float32, TF32 convolutions, or bfloat16 autocast.

| name | convolutions | other products | others |
|---|---|---|---|
| `fp32` | float32 | float32 | float32 |
| `tf32` | TF32: products of numbers with 10 bits of fraction, summed in float32 | float32 | float32 |
| `bf16` | bfloat16 under autocast | bfloat16 under autocast | float32 where autocast has it |

`tf32` is torch's own default on NVIDIA GPUs from Ampere on. Matrix products stay in float32, as views and losses use them.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch

PRECISIONS = ("fp32", "tf32", "bf16")
TF32_FROM = (8, 0)  # compute capability of Ampere


@contextmanager
def kernels(precision: str) -> Iterator[None]:
    """Context for forward and backward passes: sets torch's kernels for float32 numbers on NVIDIA GPUs.

    cuDNN measures its algorithms for each shape and takes the fastest, deterministic or not.
    """
    cudnn: Any = torch.backends.cudnn
    before = cudnn.conv.fp32_precision, torch.backends.cuda.matmul.fp32_precision, cudnn.benchmark, cudnn.deterministic
    try:
        _set("tf32" if precision == "tf32" else "ieee", "ieee", True, False)
        yield
    finally:
        _set(*before)


def _set(convolutions: str, products: str, benchmark: bool, deterministic: bool) -> None:
    cudnn: Any = torch.backends.cudnn  # torch's types lack `conv`
    cudnn.conv.fp32_precision, torch.backends.cuda.matmul.fp32_precision = convolutions, products
    cudnn.benchmark, cudnn.deterministic = benchmark, deterministic


def autocast(device: torch.device, precision: str) -> AbstractContextManager:
    """Context of a forward pass at a precision; within `kernels`."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")


def has_tf32(device: torch.device) -> bool:
    """Whether the device has TF32 arithmetic; true for a GPU of another machine, as of a Slurm job, which is unknown here."""
    if device.type != "cuda":
        return False
    return not torch.cuda.is_available() or torch.cuda.get_device_capability(device) >= TF32_FROM
