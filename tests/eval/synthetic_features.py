"""`FrozenFeatures` of synthetic features: pixels of an image encode its index, by which the backbone looks up the feature.

Images are 1 px high and 2 px wide; channels 0 and 1 of both pixels hold the index, channel 2 is 0 on the left and 255 on the
right. Weak augmentation can only flip them, which adds `flip_offset` to all dimensions of the feature.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from backbones.corpus import Corpus
from data.benchmark import Images
from data.image_files import ImageFiles
from data.lists.holdout import FileIndexLists
from data.lists.longtail import IndexLists
from data.split import Split
from data.views.spec import Evaluation
from data.views.torch_backend import TorchViews
from eval.features import FrozenFeatures
from eval.probes import PROBES

EVALUATION = Evaluation()


class FeatureLookup(nn.Module):
    """Maps encoded images (B, 3, 1, 2) to their features (B, d) float32."""

    def __init__(self, features: Tensor, flip_offset: float):
        super().__init__()
        self.features, self.flip_offset = features, flip_offset

    def forward(self, images: Tensor) -> Tensor:
        mean, std = (torch.tensor(values)[:, None] for values in (EVALUATION.mean, EVALUATION.std))
        low, high, right = ((images[:, :, 0, 0].T * std + mean) * 255).round().long()
        return self.features[low + 256 * high] + self.flip_offset * (right > 0)[:, None]


def encoded_images(first: int, count: int) -> NDArray[np.uint8]:
    """(count, 3, 1, 2) images that encode the indices from `first` on."""
    numbers = np.arange(first, first + count)
    images = np.zeros((count, 3, 1, 2), dtype=np.uint8)
    images[:, 0], images[:, 1] = (numbers % 256)[:, None, None], (numbers // 256)[:, None, None]
    images[:, 2, 0, 1] = 255
    return images


def synthetic_split(images: Images, lists: IndexLists, classes: int) -> Split:
    """A split of a benchmark with `classes` classes, grouped by thirds."""
    counts = tuple(np.bincount(images.train_labels[lists.pretrain], minlength=classes).tolist())
    benchmark = SimpleNamespace(class_names=tuple(map(str, range(classes))), groups="thirds")
    return Split(benchmark, images, lists, SimpleNamespace(counts=counts, counts_for_groups=counts))


@dataclass(frozen=True)
class SyntheticFeatures:
    """Features and labels of training and test images, with index lists."""

    train: Tensor  # (N, d)
    labels: NDArray[np.int64]  # (N,)
    test: Tensor  # (M, d)
    test_labels: NDArray[np.int64]  # (M,)
    lists: IndexLists
    classes: int
    flip_offset: float = 0.0

    def frozen(self, *, in_files: bool = False, feature_lists: Iterable[str] | None = None) -> FrozenFeatures:
        """Input of the probes, by default with the index lists of all probes; `in_files` simulates image files."""
        needs = (
            [name for _, probe in PROBES for name in probe.feature_lists(self.lists)]
            if feature_lists is None
            else feature_lists
        )
        pixels = encoded_images(0, len(self.train)), encoded_images(len(self.train), len(self.test))
        train, test = ((ImageFiles(list(part)) if in_files else part) for part in pixels)
        shown = Evaluation(resize=1, crop=1) if in_files else EVALUATION
        backbone = FeatureLookup(torch.cat([self.train, self.test]).float(), self.flip_offset)
        split = synthetic_split(Images(train, self.labels, test, self.test_labels), self.lists, self.classes)
        return FrozenFeatures(backbone, split, Corpus(torch.empty(0), TorchViews(()), shown), needs)


def gaussian_classes(
    classes: int = 3, width: int = 8, noise: float = 0.6, flip_offset: float = 0.0, seed: int = 0
) -> SyntheticFeatures:
    """Overlapping Gaussian classes: 70 training, 30 validation and 50 test images per class.

    The pretraining list is long-tailed, from 60 images of class 0 to 20 of the last class.
    """
    stream = np.random.RandomState(seed)
    centres = stream.randn(classes, width)
    labels, test_labels = np.arange(100 * classes) % classes, np.arange(50 * classes) % classes

    def cloud(y: NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(centres[y] + noise * stream.randn(len(y), width)).float()

    order = np.arange(100 * classes)
    train, val = order[: 70 * classes], order[70 * classes :]
    pretrain = np.concatenate([train[train % classes == c][:n] for c, n in enumerate(np.linspace(60, 20, classes).astype(int))])
    lists = FileIndexLists(pretrain, train[: 40 * classes], train[: 10 * classes], train, val)
    return SyntheticFeatures(cloud(labels), labels, cloud(test_labels), test_labels, lists, classes, flip_offset)


class LargestTensor(TorchDispatchMode):
    """Records the number of elements of the largest tensor that torch creates in the context."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        for tensor in made if isinstance(made, tuple | list) else (made,):
            if isinstance(tensor, Tensor):
                self.elements = max(self.elements, tensor.numel())
        return made
