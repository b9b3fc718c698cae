"""Pictures for people who would rather look: images and the views that a method gets of them, by every backend."""

from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from core.errors import UserError
from core.files import writable_folder, write_atomic
from core.seeds import seed_of
from data.benchmark import BENCHMARKS, data_folder
from data.image_files import Encoded, ImageFiles, Unreadable
from data.views.backend import BACKENDS, Loaded, image_set, image_sizes
from data.views.params import draw_batch
from data.views.spec import View
from methods import METHODS
from training.config import resolve
from training.prepare import build_method

INCH = 0.9  # side of one image in the figure
DPI = 150
MOST = 64  # rows


def draw_galleries(
    methods: Sequence[str], datasets: Sequence[str], data_root: Path | None, out: Path, images: int, seed: int
) -> Iterator[str]:
    """Draws a gallery of each method on each benchmark into the folder `out`; yields its file, and at the end who is left out.

    Raises:
        UserError: unknown names, a number of images out of range, a folder that cannot be written, or what a gallery raises.
    """
    if not 1 <= images <= MOST:
        raise UserError(f"--images {images}: give 1 to {MOST}")
    chosen = list(product(METHODS.select(methods), BENCHMARKS.select(datasets)))
    writable_folder(out, "--out")
    for method, dataset in chosen:
        file = out / f"{dataset}-{method}.png"
        draw_gallery(method, dataset, data_folder(data_root), file, images, seed)
        yield str(file)
    for name, backend in BACKENDS:
        if missing := backend.missing_dependency():
            yield f"without {name}: {missing}"


def draw_gallery(method: str, dataset: str, data_root: Path, file: Path, images: int, seed: int) -> None:
    """Writes a figure, a row an image of the benchmark: the image, then its views by each backend.

    Every backend is given the same random numbers, so what differs between them is how they are carried out. Where the method
    declares strengths, they grow from 0 in the first row to 1 in the last.

    Args:
        method: registered name.
        dataset: registered name.
        data_root: where the benchmark's images are or will be put.
        file: PNG to write.
        images: rows.
        seed: of the choice of images and of the views.

    Raises:
        UserError: the images cannot be had, are fewer, or damaged; or the file cannot be written.
    """
    benchmark = BENCHMARKS[dataset]()
    train = benchmark.load(data_root, {"pretrain", "test"}).train
    if images > len(train):
        raise UserError(f"{dataset} has {len(train)} images; ask for fewer with --images")
    chosen = np.random.RandomState(seed_of(seed, "gallery") % 2**32).choice(len(train), images, replace=False)
    held = image_set(train[chosen])
    views = views_of(method, dataset)
    strength = torch.linspace(0, 1, images) if any(view.randaugment for view in views) else None

    try:
        loaded = held.read() if isinstance(held, ImageFiles) else held
        originals = _originals(loaded)
    except Unreadable as error:
        raise UserError(f"a picture cannot be read, restore it: {error}") from error
    size = max(benchmark.recipe.sizes)
    drawn = draw_batch(views, *image_sizes(loaded), seed_of(seed, "views"), strength)
    columns = {"image": originals}
    for name, backend in BACKENDS:
        if backend.missing_dependency():
            continue
        made = backend(views).render(loaded, drawn, size)
        for number, (x, view) in enumerate(zip(made, views, strict=True), start=1):
            columns[f"{name} {number}"] = list(_levels(x, view))
    _draw(columns, strength, f"{method} on {dataset}, views of {size} px, seed {seed}", file)


def views_of(method: str, dataset: str) -> tuple[View, ...]:
    """The views of a method at its default hyper-parameters, which may decide about them."""
    config = resolve(
        method=method,
        dataset=dataset,
        profile=None,
        split=1,
        seed=0,
        preset="smoke",
        precision="fp32",
        recipe_changes={},
        hparam_changes={},
    )
    with torch.device("meta"):
        built = build_method(config, config.recipe.batch_size)
    return tuple(role.on(BENCHMARKS[dataset].view) for role in built.views)


def _originals(images: Loaded) -> list[np.ndarray]:
    if isinstance(images, Encoded):
        return images.decode_each(lambda _, picture: np.asarray(picture))
    return list(images.permute(0, 2, 3, 1).numpy())


def _levels(x: Tensor, view: View) -> np.ndarray:
    """Normalised views as (B, H, W, 3) uint8."""
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
    write_atomic(file, lambda binary: figure.savefig(binary, dpi=DPI, format="png"))
