"""Speed of SDCLR's linear probe: the reference's way against the suite's two forms, on one network at 32 px.

    python benchmarks/sdclr_probe.py [--threads 2] [--rounds 3] [--backbone resnet18] [--images 512]

The probe of CIFAR-10 full-shot: 45,000 training images in each of 30 epochs, 5,000 validation images after each, 10,000 test
images at the end. The reference cuts and mirrors each image with Pillow, by a DataLoader, and trains in float32; it shows
the validation images to the frozen network in every epoch. What passes the network is timed on `--images` images a round,
candidates in turns, and multiplied; the head is trained in full on features of that width, as it costs the same in all.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Annotated

import numpy as np
import pandas as pd
import torch
from cyclopts import App, Parameter
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

sys.path.insert(0, str(Path(__file__).parent.parent))

import backbones
from backbones.corpus import Corpus
from data.benchmark import Images
from data.lists.longtail import IndexLists
from data.views.spec import IMAGENET_MEAN, IMAGENET_STD, Evaluation
from data.views.torch_backend import TorchViews
from eval.features import FrozenFeatures, LabelledFeatures
from eval.probes.sdclr import CIFAR_FULL, CachedFullShot, train_head

TRAIN, VAL, TEST, EPOCHS, CLASSES = 45_000, 5_000, 10_000, CIFAR_FULL.epochs, 10
app = App()


class PillowImages(Dataset):
    """The reference's transforms of one image."""

    def __init__(self, pixels: np.ndarray, augmented: bool):
        self.pixels = pixels.transpose(0, 2, 3, 1)
        weak = [v2.RandomCrop(32, padding=4), v2.RandomHorizontalFlip()] if augmented else []
        tensor = [v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(IMAGENET_MEAN, IMAGENET_STD)]
        self.transform = v2.Compose([v2.ToPILImage(), *weak, *tensor])

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.transform(self.pixels[index])


@app.default
def main(
    *,
    threads: Annotated[int, Parameter(help="threads of torch")] = 2,
    rounds: Annotated[int, Parameter(help="rounds of every candidate, after one to warm up")] = 3,
    backbone: Annotated[str, Parameter(help="network, as in `bench.py list`")] = "resnet18",
    images: Annotated[int, Parameter(help="images that pass the network in a round")] = 512,
) -> None:
    """Times the parts in turn and prints what a whole probe takes."""
    torch.set_num_threads(threads)
    network = backbones.create(backbone, 32).eval().to(memory_format=torch.channels_last)
    pixels = np.random.default_rng(0).integers(0, 256, (images, 3, 32, 32), dtype=np.uint8)
    plain = backbones.create(backbone, 32).eval()
    parts: dict[str, Callable[[], None]] = {
        "reference, augmented": lambda: _reference(plain, pixels, True),
        "reference, unaugmented": lambda: _reference(plain, pixels, False),
        "suite, fp32": lambda: _suite(network, pixels, "fp32"),
        "suite, bf16": lambda: _suite(network, pixels, "bf16"),
    }
    seconds: dict[str, list[float]] = {name: [] for name in parts}
    for number in range(rounds + 1):
        for name, run in parts.items():
            started = time.perf_counter()
            run()
            if number:
                seconds[name].append((time.perf_counter() - started) / images)
    each = {name: median(times) for name, times in seconds.items()}
    head = _head_seconds(backbones.feature_width(plain, 32))
    looks = EPOCHS * VAL + TEST
    whole = {
        "reference": EPOCHS * TRAIN * each["reference, augmented"] + looks * each["reference, unaugmented"] + head,
        "`sdclr`, fp32": (EPOCHS * TRAIN + VAL + TEST) * each["suite, fp32"] + head,
        "`sdclr-cached`, fp32": (CIFAR_FULL.passes * TRAIN + VAL + TEST) * each["suite, fp32"] + head,
        "`sdclr-cached`, bf16": (CIFAR_FULL.passes * TRAIN + VAL + TEST) * each["suite, bf16"] + head,
    }
    print("images/s: " + "; ".join(f"{name} {1 / value:.0f}" for name, value in each.items()) + f"; head {head:.1f} s")
    rows = {name: {"seconds": f"{value:.0f}", "ratio": f"{whole['reference'] / value:.1f}"} for name, value in whole.items()}
    print(pd.DataFrame(rows).T.to_markdown(disable_numparse=True))


@torch.no_grad()
def _reference(network: torch.nn.Module, pixels: np.ndarray, augmented: bool) -> None:
    for batch in DataLoader(PillowImages(pixels, augmented), batch_size=128):
        network(batch)


def _suite(network: torch.nn.Module, pixels: np.ndarray, precision: str) -> None:
    corpus = Corpus(torch.from_numpy(pixels), TorchViews(()), Evaluation(), precision=precision)
    with torch.no_grad():
        for _ in corpus.embed(network, torch.from_numpy(pixels), augmented=0):
            pass


def _head_seconds(width: int) -> float:
    """Of training and choosing the head on random features."""
    stream = torch.Generator().manual_seed(0)
    labels = torch.arange(TRAIN + VAL) % CLASSES

    class Given(FrozenFeatures):
        device = torch.device("cpu")

        def __init__(self) -> None:
            self._bank = torch.randn(TRAIN + VAL, width, generator=stream)
            self._position, self._train_labels = torch.arange(TRAIN + VAL), labels
            self.classes = CLASSES
            order = np.arange(TRAIN + VAL)
            self.lists = IndexLists(order[:0], order[:0], order[:0], order[:TRAIN], order[TRAIN:])
            self.test = LabelledFeatures(
                torch.randn(TEST, width, generator=stream), torch.arange(TEST), torch.arange(TEST) % CLASSES
            )
            self.images = Images(np.zeros(0), labels.numpy(), np.zeros(0), self.test.labels.numpy())

        def augmented(self, indices, seed, purpose, draw=0) -> LabelledFeatures:
            return self.unaugmented(indices)

    frozen = Given()
    started = time.perf_counter()
    train_head(frozen, CachedFullShot().epochs(frozen, 0, CIFAR_FULL), TRAIN, 0, CIFAR_FULL)
    return time.perf_counter() - started


if __name__ == "__main__":
    app()
