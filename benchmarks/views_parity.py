"""How far the backends of views are from torchvision on views of equal parameters.

    python benchmarks/views_parity.py [--backends torch dali] [--data-root DIR] [--device cuda]

500 test images of CIFAR-10, each in eight different views an operation. Differences in grey levels: mean / 99.9 % / largest.
"""

import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import torch
from cyclopts import App, Parameter
from PIL import Image
from sklearn.datasets import load_sample_images
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent.parent))

from data.benchmark import BENCHMARKS
from data.image_files import ImageFiles
from data.root import data_folder
from data.views.backend import BACKENDS, Loaded, image_sizes
from data.views.params import draw_batch
from data.views.spec import RandAugment, View
from training.device import choose_device

SEEDS = 8  # views of each image an operation
NOTHING = View(crop_scale=(1, 1), crop_ratio=(1, 1), flip_p=0, jitter_p=0, gray_p=0, mean=(0, 0, 0), std=(1, 1, 1))
FULL = View(mean=(0, 0, 0), std=(1, 1, 1))
JITTER = replace(NOTHING, jitter_p=1)
BLUR = replace(NOTHING, blur_p=1, blur_sigma=(0.1, 2.0))


def _only_jitter(name: str) -> View:
    return replace(JITTER, **{other: 0 for other in ("brightness", "contrast", "saturation", "hue") if other != name})


def _crop(interpolation: str) -> View:
    return replace(NOTHING, crop_scale=FULL.crop_scale, crop_ratio=FULL.crop_ratio, flip_p=0.5, interpolation=interpolation)


CASES: dict[str, tuple[View, int]] = {  # a view that does one thing, and the side in px it is made at, from 32 px
    "nothing": (NOTHING, 32),
    "flip": (replace(NOTHING, flip_p=0.5), 32),
    **{f"crop {side}, {kind}": (_crop(kind), side) for kind in ("bicubic", "bilinear") for side in (16, 24, 32, 48)},
    **{name: (_only_jitter(name), 32) for name in ("brightness", "contrast", "saturation", "hue")},
    "jitter": (JITTER, 32),
    "gray": (replace(NOTHING, gray_p=1), 32),
    "blur": (BLUR, 32),
    "solarize": (replace(NOTHING, solarize_p=1), 32),
    "RandAugment, 1": (replace(NOTHING, randaugment=RandAugment()), 32),
    "RandAugment, 2": (replace(NOTHING, randaugment=RandAugment(operations=2, weakest=5, span=25, jittered=True)), 32),
    "view": (FULL, 32),
    "view 24": (FULL, 24),
    "view, blur, solarize": (replace(FULL, blur_p=0.5, solarize_p=0.2), 32),
    "view, RandAugment": (replace(FULL, randaugment=RandAugment()), 32),
}


def levels_of(name: str, view: View, images: Loaded, size: int, seeds: int = 1, device: str = "cpu") -> Tensor:
    """Grey levels of the views that backend `name` renders of B images: (seeds * B, 3, size, size) float32 in 0..255.

    The view must not normalise. Strengths for RandAugment are evenly spaced over [0, 1].
    """
    backend = BACKENDS[name]([view], device)
    strength = torch.linspace(0, 1, len(images)) if view.randaugment else None
    drawn = [draw_batch([view], *image_sizes(images), seed, strength) for seed in range(seeds)]
    return 255 * torch.cat([backend.render(images, params, size)[0].cpu() for params in drawn])


app = App()


@app.default
def main(
    *,
    backends: Annotated[list[str] | None, Parameter(help="names; default: all that work here")] = None,
    data_root: Annotated[Path | None, Parameter(help="where CIFAR-10 is")] = None,
    device: Annotated[str, Parameter(help="device of the backends; torchvision's reference is on the CPU")] = "cpu",
) -> None:
    """Prints the table of docs/views.md."""
    torch.set_num_threads(1)
    missing = {name: kind.missing_dependency(choose_device(device)) for name, kind in BACKENDS if name != "torchvision"}
    names = backends or [name for name, reason in missing.items() if reason is None]
    images = torch.from_numpy(BENCHMARKS["cifar10lt"]().load(data_folder(data_root)).test[::20])
    print("| operation |", " | ".join(names), "|\n|---|" + "---|" * len(names))
    for case, (view, size) in CASES.items():
        _row(case, names, view, images, size, device)
    with TemporaryDirectory() as folder:
        for case, view in (("JPEG files, crop 224", _crop("bicubic")), ("JPEG files, view 224", FULL)):
            _row(case, names, view, ImageFiles(_jpegs(Path(folder))).read(), 224, device)


def _jpegs(folder: Path) -> list[Path]:
    """scikit-learn's two photographs, 640x427 px, as JPEG files."""
    paths = [folder / f"{k}.jpg" for k in range(2)]
    for path, pixels in zip(paths, load_sample_images().images, strict=True):
        Image.fromarray(pixels).save(path, quality=90)
    return paths


def _row(case: str, names: list[str], view: View, images: Loaded, size: int, device: str) -> None:
    """Prints mean, 99.9 % and largest absolute difference of each backend."""
    theirs = levels_of("torchvision", view, images, size, SEEDS)
    cells = []
    for name in names:
        off = (levels_of(name, view, images, size, SEEDS, device) - theirs).abs().flatten()
        cells.append(f"{off.mean():.2f} / {off.kthvalue(int(0.999 * len(off)))[0]:.1f} / {off.max():.0f}")
    print(f"| {case} | {' | '.join(cells)} |")


if __name__ == "__main__":
    app()
