"""The images of a run, and features of them by any network."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from backbones.precision import autocast, kernels
from data.image_files import ImageFiles
from data.prefetch import prefetch
from data.views.backend import Backend, ImageSet
from data.views.evaluation import batch_sizes, evaluation_batches
from data.views.spec import Evaluation
from parallel import processes


@dataclass(frozen=True)
class Corpus:
    """The pretraining set of a run, its OOD pool, and how both are evaluated by a network."""

    images: ImageSet  # N, the pretraining set
    backend: Backend  # augmentation backend of the run
    evaluation: Evaluation  # evaluation transform
    pool: NDArray[np.uint8] | ImageFiles | None = None  # OOD pool of M images, for methods that sample from one
    precision: str = "fp32"  # of networks, as in training
    labels: Tensor | None = None  # (N,) class labels, only for ablations that use them (`Method.uses_labels`)

    def embed(
        self,
        network: Callable[[Tensor], Tensor],
        images: ImageSet | NDArray[np.uint8],
        *,
        black: bool = True,
        augmented: int | None = None,
        weak: bool = True,
    ) -> Iterator[Tensor]:
        """Yields outputs (B, d) of `network`, at least in float32, batch by batch: memory does not grow with their number.

        Several processes compute the batches in turns, and each yields all of them.

        Args:
            network: (B, 3, H, W) normalised images to (B, d).
            images: M images.
            black: whether an unreadable file is replaced by a black image, which keeps rows aligned with positions.
            augmented: None for no augmentation, or the seed of a random one.
            weak: whether this is the weak augmentation of linear probes, or that of the first training view, at the side of the
                evaluation transform.

        Raises:
            Unreadable: files cannot be read and `black` is False.
        """

        def own() -> Iterator[Tensor]:
            turns = slice(processes.rank(), None, processes.count())
            batches = evaluation_batches(
                self.backend, images, self.evaluation, black=black, augmented=augmented, weak=weak, which=turns
            )
            device = self.backend.device
            if device.type == "cuda":  # the CPU reads and decodes the next batches while the GPU computes
                batches = prefetch(batches, device, depth=1)  # of 500 images of 224 px, one has 300 MB
            for batch in batches:
                with kernels(self.precision), autocast(device, self.precision):
                    rows = network(batch)
                yield rows.to(torch.promote_types(rows.dtype, torch.float32))

        return processes.in_turns(own(), batch_sizes(len(images)))

    def take(self, selected: Tensor) -> ImageSet:
        """Returns the pool images at positions `selected` (K,): (K, 3, H, W) uint8 on the backend's input device, or files.

        Raises:
            ValueError: the run has no pool.
        """
        if self.pool is None:
            raise ValueError("this run has no OOD pool")
        taken = self.pool[selected.cpu().numpy()]
        return taken if isinstance(taken, ImageFiles) else torch.from_numpy(taken).to(self.backend.input_device)
