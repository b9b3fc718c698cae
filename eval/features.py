"""Features of a frozen backbone, extracted once and shared by every probe."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from core.errors import UserError
from data.benchmark import Images
from data.corpus import Corpus
from data.lists.longtail import IndexLists
from data.pictures import Pictures, Unreadable


@dataclass(frozen=True)
class FeatureSet:
    """What probes see: features and labels of one benchmark's split under one frozen backbone."""

    train: Tensor  # (N, d) float32 on the CPU, of all training images; rows outside the lists are NaN
    train_labels: Tensor  # (N,) int64
    test: Tensor  # (M, d)
    test_labels: Tensor  # (M,)
    lists: IndexLists
    classes: int

    def rows(self, indices: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Features and labels of training images, by their indices."""
        index = torch.from_numpy(indices)
        return self.train[index], self.train_labels[index]


def extract(
    backbone: nn.Module,
    images: Images,
    lists: IndexLists,
    corpus: Corpus,
    classes: int,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> FeatureSet:
    """Passes the images of the probes' lists and the test images through the backbone once, in eval mode, unaugmented.

    Args:
        backbone: (B, 3, H, W) to (B, d).
        images: the benchmark's.
        lists: of one split.
        corpus: of the run, which shows images to networks.
        classes: how many classes the benchmark has.
        report: called with (images done, images in all) after each batch.

    Raises:
        UserError: a picture cannot be read.
    """
    backbone.eval()
    needed = lists.labelled
    total = len(needed) + len(images.test)
    seen = 0

    def features(pixels: NDArray[np.uint8] | Pictures) -> Iterator[Tensor]:
        nonlocal seen
        try:
            for rows in corpus.embed(backbone, pixels, black=False):
                yield rows.cpu()
                seen += len(rows)
                report(seen, total)
        except Unreadable as error:  # without them the numbers would be of another set of images
            raise UserError(f"a picture of the probes cannot be read, restore it: {error}") from error

    with torch.no_grad():
        some = torch.cat(list(features(images.train[needed])))
    train = torch.full((len(images.train), some.shape[1]), torch.nan)
    train[torch.from_numpy(needed)] = some
    with torch.no_grad():
        test = torch.cat(list(features(images.test)))
    return FeatureSet(train, torch.from_numpy(images.train_labels), test, torch.from_numpy(images.test_labels), lists, classes)
