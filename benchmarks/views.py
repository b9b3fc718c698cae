"""Speed of every backend of views against torchvision's transforms in a DataLoader, and lightly's where it is installed.

    python benchmarks/views.py [--threads 2] [--rounds 5] [--data-root DIR] [--pictures DIR] [--batches 8] [--device cuda]

Two SimCLR views of each image, in batches of 128 at 32 px from memory (CIFAR-10), and of 64 at 224 px from files (any folder of
JPEGs). The suite's backends run on `--device`; torchvision and lightly leave their views on the CPU. All candidates take turns
in one process, so that other load affects them equally; what is printed is the median of the rounds, in source images a
second, and its ratio to Pillow's torchvision in the main process. The share of views in a training step is measured by
`benchmarks/training.py`.
"""

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Annotated

import pandas as pd
import torch
from cyclopts import App, Parameter
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

sys.path.insert(0, str(Path(__file__).parent.parent))

from data.benchmark import BENCHMARKS
from data.image_files import ImageFiles
from data.root import data_folder
from data.views.backend import BACKENDS, Backend, ImageSet
from data.views.spec import View
from training.device import choose_device, device_name, synchronize

app = App()
PATTERNS = ("*.jpg", "*.jpeg", "*.JPEG")


@app.default
def main(
    *,
    threads: Annotated[int, Parameter(help="threads, and DataLoader workers")] = 2,
    rounds: Annotated[int, Parameter(help="rounds of every candidate, after one to warm up")] = 5,
    batches: Annotated[int, Parameter(help="batches a round")] = 8,
    data_root: Annotated[Path | None, Parameter(help="where CIFAR-10 is")] = None,
    pictures: Annotated[Path | None, Parameter(help="a folder of JPEGs; without it only 32 px is timed")] = None,
    device: Annotated[str, Parameter(help="device of the suite's backends")] = "cpu",
    batch: Annotated[int | None, Parameter(help="images a batch; default: 128 from memory, 64 from files")] = None,
) -> None:
    """Times all candidates in turn and prints their medians and ratios."""
    torch.set_num_threads(threads)
    on = choose_device(device)
    count = (batch or 128) * batches
    pixels = torch.from_numpy(BENCHMARKS["cifar10lt"]().load(data_folder(data_root)).train[:count])
    print(f"{device_name(on)}\n")
    print(_table(_candidates(pixels, batch or 128, 32, View(), threads, on), len(pixels), rounds))
    if pictures is not None:
        count = (batch or 64) * batches
        files = ImageFiles(sorted(file for pattern in PATTERNS for file in pictures.rglob(pattern))[:count])
        view = View(crop_scale=(0.08, 1.0), blur_p=0.5)
        print(_table(_candidates(files, batch or 64, 224, view, threads, on), len(files), rounds))


def _table(candidates: dict[str, Callable[[], int]], images: int, rounds: int) -> str:
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for number in range(rounds + 1):
        for name, run in candidates.items():
            started = time.perf_counter()
            assert run() == images
            if number:
                seconds[name].append(time.perf_counter() - started)
    speed = {name: images / median(times) for name, times in seconds.items()}
    base = speed["torchvision DataLoader, no workers"]
    rows = {name: {"images/s": f"{s:.0f}", "ratio": f"{s / base:.1f}"} for name, s in speed.items()}
    return pd.DataFrame(rows).T.to_markdown(disable_numparse=True) + "\n"


def _candidates(
    images: ImageSet, batch: int, size: int, view: View, threads: int, device: torch.device
) -> dict[str, Callable[[], int]]:
    """What is timed: functions that make two views of all images and return how many there were."""
    made: dict[str, Callable[[], int]] = {}
    for name, backend in BACKENDS:
        if backend.missing_dependency(device) is None:
            made[name] = _suite(backend((view, view), device), images, batch, size)
    transform = _torchvision(view, size)
    for workers in (0, threads):
        label = f"torchvision DataLoader, {workers or 'no'} workers"
        made[label] = _loader(_Two(images, transform), batch, workers)
    try:
        from lightly.transforms import SimCLRTransform
    except ImportError:
        return made
    theirs = SimCLRTransform(
        input_size=size, cj_prob=view.jitter_p, cj_bright=0.4, cj_contrast=0.4, cj_sat=0.4, cj_hue=0.1,
        min_scale=view.crop_scale[0], random_gray_scale=view.gray_p, gaussian_blur=view.blur_p,
    )  # fmt: skip
    made[f"lightly, {threads} workers"] = _loader(_Two(images, theirs, both=True), batch, threads)
    return made


def _suite(backend: Backend, images: ImageSet, batch: int, size: int) -> Callable[[], int]:
    stored = images.to(backend.input_device) if isinstance(images, Tensor) else images

    def run() -> int:
        count = sum(len(backend(stored[i : i + batch], i, size)[0]) for i in range(0, len(stored), batch))
        synchronize(backend.device)
        return count

    return run


def _torchvision(view: View, size: int) -> transforms.Compose:
    """The protocol's transform as its reference code writes it."""
    blur = [transforms.RandomApply([transforms.GaussianBlur(23, view.blur_sigma)], p=view.blur_p)] if view.blur_p else []
    jitter = transforms.ColorJitter(view.brightness, view.contrast, view.saturation, view.hue)
    return transforms.Compose(
        [
            transforms.RandomResizedCrop(size, view.crop_scale, interpolation=transforms.InterpolationMode.BICUBIC),
            transforms.RandomHorizontalFlip(view.flip_p),
            transforms.RandomApply([jitter], p=view.jitter_p),
            transforms.RandomGrayscale(view.gray_p),
            *blur,
            transforms.ToTensor(),
            transforms.Normalize(view.mean, view.std),
        ]
    )


class _Two(Dataset):
    """Two views of each image by a transform of Pillow pictures; `both` if the transform makes both itself."""

    def __init__(self, images: ImageSet, transform: Callable, both: bool = False):
        self.images = images.names() if isinstance(images, ImageFiles) else images.permute(0, 2, 3, 1).contiguous().numpy()
        self.transform = transform
        self.both = both

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> list[Tensor]:
        image = self.images[index]
        picture = Image.open(image).convert("RGB") if isinstance(image, str) else Image.fromarray(image)
        return self.transform(picture) if self.both else [self.transform(picture), self.transform(picture)]


def _loader(images: _Two, batch: int, workers: int) -> Callable[[], int]:
    loader = DataLoader(images, batch, num_workers=workers, persistent_workers=workers > 0)

    def run() -> int:
        return sum(len(first) for first, _ in _pairs(loader))

    return run


def _pairs(loader: DataLoader) -> Iterator[tuple[Tensor, Tensor]]:
    for views in loader:
        yield views[0], views[1]


if __name__ == "__main__":
    app()
