"""Queue of embeddings of earlier batches: negatives of MoCo v2, support set of NNCLR, further rows of SwAV's assignment."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# the largest power of two that is at most half of the images, and at most the 65,536 of MoCo v2; on other benchmarks 4,096
LARGE: dict[str, dict[str, Any]] = {
    "imagenetlt": {"queue": 32_768},
    "placeslt": {"queue": 16_384},
    "inat18": {"queue": 65_536},
}


class Queue(nn.Module):
    """First-in, first-out queue of unit vectors, in buffers, so that it is checkpointed with the method.

    At first it holds random directions. It is pushed to in `objective`, so that it is the same in every process.
    """

    def __init__(self, size: int, width: int, samples: int):
        """Draws the initial vectors.

        Args:
            size: requested number of vectors Q; there are at most N / 2, so that most are of other images than an anchor's.
            width: dimension d.
            samples: number of images N.
        """
        super().__init__()
        self.register_buffer("vectors", F.normalize(torch.randn(min(size, max(1, samples // 2)), width), dim=1))
        self.register_buffer("start", torch.zeros((), dtype=torch.int64))
        self.vectors: Tensor  # (Q, d)
        self.start: Tensor  # place of the oldest vector, which is replaced next; on the device, to avoid synchronisation

    @torch.no_grad()
    def push(self, z: Tensor) -> None:
        """Normalises (B, d) embeddings and replaces the oldest vectors by them; only the last Q rows stay if B > Q."""
        size = len(self.vectors)
        kept = torch.arange(max(0, len(z) - size), len(z), device=z.device)
        self.vectors[(self.start + kept) % size] = F.normalize(z.to(self.vectors.dtype), dim=1)[kept]
        self.start.add_(len(z)).remainder_(size)

    @torch.no_grad()
    def nearest(self, z: Tensor) -> Tensor:
        """(B, d) vector of the queue with the largest cosine similarity to each of (B, d) embeddings."""
        with torch.autocast(z.device.type, enabled=False):
            return self.vectors[(z.to(self.vectors.dtype) @ self.vectors.T).argmax(dim=1)]
