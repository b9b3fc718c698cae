"""What a method remembers about each image: one number an image, indexed by `batch.index`."""

import torch
from torch import Tensor, distributed, nn


class SampleMemory(nn.Module):
    """A moving average per pretraining image, in buffers: checkpointed, resumed and moved with the method that holds it.

    The first value of an image is taken as it is, later ones by `momentum * old + (1 - momentum) * new`. With several
    processes each sees the others' batches, so that all hold the same memory.
    """

    def __init__(self, samples: int, momentum: float = 0.0):
        """`samples` is the number N of images; `momentum` in [0, 1), 0 keeps the last value."""
        super().__init__()
        self.momentum = momentum
        # one row more than images: index -1, an image from outside the set, writes there and is wiped
        self.register_buffer("value", torch.zeros(samples + 1))
        self.register_buffer("seen", torch.zeros(samples + 1, dtype=torch.bool))
        self.value: Tensor
        self.seen: Tensor

    @torch.no_grad()
    def update(self, index: Tensor, values: Tensor) -> None:
        """Enters the (B,) `values` of the images `index`; those with index -1 are left out."""
        index, values = everyones(index), everyones(values.detach().to(self.value.dtype))
        old = self.value[index]
        kept = torch.lerp(values, old, self.momentum)
        self.value[index] = torch.where(self.seen[index], kept, values)
        # in place by operations of the device: assigning a number would copy it there, and wait
        self.seen.index_fill_(0, index, True)
        self.value[-1:].zero_()
        self.seen[-1:].zero_()

    def __getitem__(self, index: Tensor) -> Tensor:
        """(B,) values of the images `index`; 0 for those never seen and for index -1."""
        return self.value[index]

    def all(self) -> Tensor:
        """(N,) values of all images."""
        return self.value[:-1]


def everyones(x: Tensor) -> Tensor:
    """The rows of all processes, in the order of their ranks; `x` itself where there is one process. No gradient flows."""
    if not (distributed.is_available() and distributed.is_initialized()) or distributed.get_world_size() == 1:
        return x
    sizes = [torch.zeros((), dtype=torch.int64, device=x.device) for _ in range(distributed.get_world_size())]
    distributed.all_gather(sizes, torch.tensor(len(x), device=x.device))
    largest = int(max(sizes))  # the last batch of an epoch can be uneven
    padded = torch.cat([x, x.new_zeros(largest - len(x), *x.shape[1:])])
    parts = [torch.empty_like(padded) for _ in sizes]
    distributed.all_gather(parts, padded)
    return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])
