"""The command `views`: figures of images and their augmented views by every augmentation backend."""

from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from core.errors import UserError
from core.files import remove_unfinished, writable_folder, write_atomic
from core.seeds import seed_of
from core.words import counted
from data.benchmark import BENCHMARKS
from data.image_files import Encoded, ImageFiles, Unreadable
from data.root import data_folder
from data.views.backend import BACKENDS, Loaded, image_set, image_sizes
from data.views.params import draw_batch
from data.views.spec import View
from methods import METHODS
from training.config import resolve
from training.prepare import build_method

INCH = 0.9  # size of an image in the figure
DPI = 150
MAX_IMAGES = 64


def views(
    methods: Sequence[str], datasets: Sequence[str], data_root: Path | None, out: Path, images: int, seed: int
) -> Iterator[str]:
    """Writes a figure for each method and benchmark into the folder `out`.

    Args:
        methods: names, globs, or all.
        datasets: names, globs, or all.
        data_root: folder of the data sets; None: the user's cache folder.
        out: folder of the PNG files.
        images: number of images, one per row.
        seed: of the choice of images and of their augmentation.

    Yields:
        The path of each file; then a line for each backend that is not available.

    Raises:
        UserError: unknown names, `images` out of range, missing data, an unreadable image file, or `out` is not writable.
    """
    if not 1 <= images <= MAX_IMAGES:
        raise UserError(f"--images {images}: give 1 to {MAX_IMAGES}")
    chosen = list(product(METHODS.select(methods), BENCHMARKS.select(datasets)))
    writable_folder(out, "--out")
    for method, dataset in chosen:
        file = out / f"{dataset}-{method}.png"
        _draw_gallery(method, dataset, data_folder(data_root), file, images, seed)
        yield str(file)
    for name, backend in BACKENDS:
        if missing := backend.missing_dependency():
            yield f"without {name}: {missing}"


def _draw_gallery(method: str, dataset: str, data_root: Path, file: Path, images: int, seed: int) -> None:
    """Writes a figure with one row per image: the image, then its views by each backend.

    All backends use the same augmentation parameters, so that differences are those of their implementations. For methods with
    per-sample augmentation strengths, the strength grows from 0 in the first row to 1 in the last.
    """
    benchmark = BENCHMARKS[dataset]()
    train = benchmark.load(data_root, {"pretrain", "test"}).train
    if images > len(train):
        raise UserError(f"{dataset} has only {counted(len(train), 'image')}; lower --images")
    chosen = np.random.RandomState(seed_of(seed, "gallery") % 2**32).choice(len(train), images, replace=False)
    held = image_set(train[chosen])
    views = method_views(method, dataset)
    strength = torch.linspace(0, 1, images) if any(view.randaugment for view in views) else None

    try:
        loaded = held.read() if isinstance(held, ImageFiles) else held
        originals = _originals(loaded)
    except Unreadable as error:
        raise UserError(f"cannot read an image file; {error.remedy} it: {error}") from error
    size = max(benchmark.recipe.sizes)
    drawn = draw_batch(views, *image_sizes(loaded), seed_of(seed, "views"), strength)
    columns = {"image": originals}
    for name, backend in BACKENDS:
        if backend.missing_dependency():
            continue
        made = backend(views).render(loaded, drawn, size)
        for number, (x, view) in enumerate(zip(made, views, strict=True), start=1):
            columns[f"{name} {number}"] = list(_levels(x, view))
    sides = " and ".join(map(str, sorted({view.side(size) for view in views}, reverse=True)))
    _draw(columns, strength, f"{method} on {dataset}, views of {sides} px, seed {seed}", file)


def method_views(method: str, dataset: str) -> tuple[View, ...]:
    """View specifications of a method at its default hyper-parameters, on which they can depend."""
    config = resolve(
        method=method,
        dataset=dataset,
        preset="smoke",
        precision="fp32",
    )
    with torch.device("meta"):
        views = build_method(config, config.recipe.batch_size).views
    return tuple(role.on(BENCHMARKS[dataset].view) for role in views)


def _originals(images: Loaded) -> list[np.ndarray]:
    if isinstance(images, Encoded):
        return images.decode_each(lambda _, picture: np.asarray(picture))
    return list(images.permute(0, 2, 3, 1).numpy())


def _levels(x: Tensor, view: View) -> np.ndarray:
    """Converts normalised views to (B, H, W, 3) uint8."""
    mean, std = (torch.tensor(values)[:, None, None] for values in (view.mean, view.std))
    return ((x * std + mean) * 255).round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()


def _draw(columns: dict[str, list[np.ndarray]], strength: Tensor | None, title: str, file: Path) -> None:
    rows = len(next(iter(columns.values())))
    figure = Figure((INCH * (len(columns) + 0.6), INCH * (rows + 0.6)), layout="constrained")
    grid = figure.subplots(rows, len(columns), squeeze=False)
    for k, (header, made) in enumerate(columns.items()):
        grid[0, k].set_title(header, fontsize=7)
        for row, image in enumerate(made):
            axes = grid[row, k]
            axes.imshow(image, interpolation="nearest")
            axes.set_xticks([])
            axes.set_yticks([])
            if k == 0 and strength is not None:
                axes.set_ylabel(f"strength {strength[row]:.2f}", fontsize=6)
    figure.suptitle(title, fontsize=9)
    FigureCanvasAgg(figure)
    remove_unfinished(file.parent, file.name)
    write_atomic(file, lambda binary: figure.savefig(binary, dpi=DPI, format="png"))
