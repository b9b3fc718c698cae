"""Per-image memory: a moving average of a number or a vector per image, indexed by `batch.index`."""

import torch
from torch import Tensor, nn


class SampleMemory(nn.Module):
    """A moving average per pretraining image, in buffers, so that it is checkpointed with the method.

    The first value of an image is stored as it is, later ones as momentum * old + (1 - momentum) * new.
    """

    def __init__(self, samples: int, momentum: float = 0.0, shape: tuple[int, ...] = ()):
        """`samples` is the number of images N; `momentum` lies in [0, 1), and 0 stores the last value; `shape` is a value's."""
        super().__init__()
        self.momentum = momentum
        # index -1, an image of an OOD pool, writes to the additional last row, which is then reset
        self.register_buffer("value", torch.zeros(samples + 1, *shape))
        self.register_buffer("seen", torch.zeros(samples + 1, dtype=torch.bool))
        self.value: Tensor
        self.seen: Tensor

    @torch.no_grad()
    def update(self, index: Tensor, values: Tensor, momentum: float | None = None) -> None:
        """Enters the (B, *shape) `values` of the images `index`, with another momentum if given; index -1 is ignored."""
        values = values.detach().to(self.value.dtype)
        old = self.value[index]
        kept = torch.lerp(values, old, self.momentum if momentum is None else momentum)
        seen = self.seen[index].view(-1, *(1,) * (values.ndim - 1))
        self.value[index] = torch.where(seen, kept, values)
        # assigning a Python number by index would copy it to the device and synchronise
        self.seen.index_fill_(0, index, True)
        self.value[-1:].zero_()
        self.seen[-1:].zero_()

    def __getitem__(self, index: Tensor) -> Tensor:
        """(B, *shape) values of the images `index`; 0 for images without a value and for index -1."""
        return self.value[index]

    def all(self) -> Tensor:
        """(N, *shape) values of all images; 0 for images without one."""
        return self.value[:-1]

    def all_or_mean(self) -> Tensor:
        """(N, *shape) values of all images on the CPU; those without one, such as unreadable images, have the mean value."""
        values, seen = self.all().cpu(), self.seen[:-1].cpu()
        if seen.all() or not seen.any():
            return values
        values = values.clone()
        values[~seen] = values[seen].mean(dim=0)
        return values
