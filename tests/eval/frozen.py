"""A `Frozen` on made-up features: every image's pixels spell its number, which the backbone looks up.

Images are 1 px high and 2 px wide; channels 0 and 1 of both pixels hold the number, channel 2 tells left (0) from right (255).
A weak augmentation can only mirror them, which adds `jolt` to all dimensions of the feature.
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
from eval.features import Frozen
from eval.probes import PROBES

SHOWN = Evaluation()


class LookUp(nn.Module):
    """(B, 3, 1, 2) spelled images to the (B, d) float32 features of their numbers."""

    def __init__(self, features: Tensor, jolt: float):
        super().__init__()
        self.features, self.jolt = features, jolt

    def forward(self, images: Tensor) -> Tensor:
        mean, std = (torch.tensor(values)[:, None] for values in (SHOWN.mean, SHOWN.std))
        low, high, right = ((images[:, :, 0, 0].T * std + mean) * 255).round().long()
        return self.features[low + 256 * high] + self.jolt * (right > 0)[:, None]


def spelled(first: int, count: int) -> NDArray[np.uint8]:
    """(count, 3, 1, 2) images that spell the numbers from `first` on."""
    numbers = np.arange(first, first + count)
    images = np.zeros((count, 3, 1, 2), dtype=np.uint8)
    images[:, 0], images[:, 1] = (numbers % 256)[:, None, None], (numbers // 256)[:, None, None]
    images[:, 2, 0, 1] = 255
    return images


def made_split(images: Images, lists: IndexLists, classes: int) -> Split:
    """A split of a benchmark of so many classes, grouped by thirds."""
    counts = tuple(np.bincount(images.train_labels[lists.pretrain], minlength=classes).tolist())
    benchmark = SimpleNamespace(class_names=tuple(map(str, range(classes))), groups="thirds")
    return Split(benchmark, images, lists, SimpleNamespace(counts=counts, deciding=counts))


@dataclass(frozen=True)
class MadeUp:
    """Features and labels of training and test images, and lists into the former."""

    train: Tensor  # (N, d)
    labels: NDArray[np.int64]  # (N,)
    test: Tensor  # (M, d)
    test_labels: NDArray[np.int64]  # (M,)
    lists: IndexLists
    classes: int
    jolt: float = 0.0

    def frozen(self, *, in_files: bool = False, feature_lists: Iterable[str] | None = None) -> Frozen:
        """What probes see; by default with the lists of all of them. Pictures in files are told, but lie in memory."""
        needs = (
            [name for _, probe in PROBES for name in probe.feature_lists(self.lists)]
            if feature_lists is None
            else feature_lists
        )
        pixels = spelled(0, len(self.train)), spelled(len(self.train), len(self.test))
        train, test = ((ImageFiles(list(part)) if in_files else part) for part in pixels)
        shown = Evaluation(resize=1, crop=1) if in_files else SHOWN
        backbone = LookUp(torch.cat([self.train, self.test]).float(), self.jolt)
        split = made_split(Images(train, self.labels, test, self.test_labels), self.lists, self.classes)
        return Frozen(backbone, split, Corpus(torch.empty(0), TorchViews(()), shown), needs)


def clouds(classes: int = 3, width: int = 8, noise: float = 0.6, jolt: float = 0.0, seed: int = 0) -> MadeUp:
    """Overlapping clouds: 100 training images a class, of which 30 a class are for validation, and 50 test images a class.

    The pretraining list is long-tailed: 60 images of class 0, 20 of the last, and between.
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
    return MadeUp(cloud(labels), labels, cloud(test_labels), test_labels, lists, classes, jolt)


class Largest(TorchDispatchMode):
    """Notes how many elements the largest tensor has that torch makes while it is entered."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        for tensor in made if isinstance(made, tuple | list) else (made,):
            if isinstance(tensor, Tensor):
                self.elements = max(self.elements, tensor.numel())
        return made
