"""All images of a run as they are, for methods that look at every one of them between two epochs."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data.views import View

BATCH = 500  # images per forward pass


@dataclass(frozen=True)
class Corpus:
    """The images that a run is trained on, and those that it may draw on."""

    images: Tensor  # (N, 3, H, W) uint8, the pretraining set, on the training device
    view: View  # whose normalisation the network is trained with
    pool: NDArray[np.uint8] | None = None  # (M, 3, H, W) images from elsewhere, for methods that ask for a pool
    bf16: bool = False  # whether networks run under bfloat16 autocast, as in training
    labels: Tensor | None = None  # (N,) only where a method's ablation asks for the truth (`Method.wants_labels`)

    def embed(self, network: Callable[[Tensor], Tensor], images: Tensor | NDArray[np.uint8]) -> Iterator[Tensor]:
        """Yields `network`'s float32 rows for unaugmented images, batch by batch: memory does not grow with their number.

        Args:
            network: (B, 3, H, W) normalised images to (B, d).
            images: (M, 3, H, W) uint8, of this corpus.
        """
        for batch in normalized(images, self.view, self.images.device):
            with torch.autocast(batch.device.type, dtype=torch.bfloat16, enabled=self.bf16):
                rows = network(batch)
            yield rows.float()

    def take(self, selected: Tensor) -> Tensor:
        """The images of the pool at the positions `selected` (K,), (K, 3, H, W) uint8 on the training device."""
        if self.pool is None:
            raise ValueError("this run has no pool")
        return torch.from_numpy(self.pool[selected.cpu().numpy()]).to(self.images.device)


def normalized(pixels: Tensor | NDArray[np.uint8], view: View, device: torch.device) -> Iterator[Tensor]:
    """Batches of (N, 3, H, W) uint8 images as the network sees them at test time: scaled to [0, 1] and normalised."""
    mean = torch.tensor(view.mean, device=device)[:, None, None]
    std = torch.tensor(view.std, device=device)[:, None, None]
    for start in range(0, len(pixels), BATCH):
        part = pixels[start : start + BATCH]
        # a copy: pools can be read-only maps of a file, which torch does not take
        batch = part if isinstance(part, Tensor) else torch.from_numpy(part.copy())
        x = batch.to(device).float().div_(255)
        yield ((x - mean) / std).contiguous(memory_format=torch.channels_last)
