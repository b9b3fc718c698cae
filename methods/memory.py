"""Per-image memory: a moving average of one number per image, indexed by `batch.index`."""

import torch
from torch import Tensor, distributed, nn


class SampleMemory(nn.Module):
    """A moving average per pretraining image, in buffers, so that it is checkpointed with the method.

    The first value of an image is stored as it is, later ones as momentum * old + (1 - momentum) * new. In distributed training
    each process enters the values of all processes, so that all memories are equal.
    """

    def __init__(self, samples: int, momentum: float = 0.0):
        """`samples` is the number of images N; `momentum` lies in [0, 1), and 0 stores the last value."""
        super().__init__()
        self.momentum = momentum
        # index -1, an image of an OOD pool, writes to the additional last row, which is then reset
        self.register_buffer("value", torch.zeros(samples + 1))
        self.register_buffer("seen", torch.zeros(samples + 1, dtype=torch.bool))
        self.value: Tensor
        self.seen: Tensor

    @torch.no_grad()
    def update(self, index: Tensor, values: Tensor) -> None:
        """Enters the (B,) `values` of the images `index`; those with index -1 are ignored."""
        index, values = gather_rows(index), gather_rows(values.detach().to(self.value.dtype))
        old = self.value[index]
        kept = torch.lerp(values, old, self.momentum)
        self.value[index] = torch.where(self.seen[index], kept, values)
        # assigning a Python number by index would copy it to the device and synchronise
        self.seen.index_fill_(0, index, True)
        self.value[-1:].zero_()
        self.seen[-1:].zero_()

    def __getitem__(self, index: Tensor) -> Tensor:
        """(B,) values of the images `index`; 0 for images without a value and for index -1."""
        return self.value[index]

    def all(self) -> Tensor:
        """(N,) values of all images."""
        return self.value[:-1]


def gather_rows(x: Tensor) -> Tensor:
    """All-gathers rows of tensors whose lengths may differ between processes.

    Args:
        x: (B, ...), B of this process.

    Returns:
        (sum of B, ...) rows in the order of the ranks, without gradient; `x` itself if there is one process.
    """
    if not (distributed.is_available() and distributed.is_initialized()) or distributed.get_world_size() == 1:
        return x
    sizes = [torch.zeros((), dtype=torch.int64, device=x.device) for _ in range(distributed.get_world_size())]
    distributed.all_gather(sizes, torch.tensor(len(x), device=x.device))
    largest = int(max(sizes))  # the last batch of an epoch may be split unevenly
    padded = torch.cat([x, x.new_zeros(largest - len(x), *x.shape[1:])])
    parts = [torch.empty_like(padded) for _ in sizes]
    distributed.all_gather(parts, padded)
    return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])
