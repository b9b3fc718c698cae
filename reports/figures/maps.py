"""t-SNE of test features, one panel per method, coloured by class and by group."""

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from core.errors import UserError
from reports import captions
from reports.comparable import ClassNames, no_class_names
from reports.figures.setting import Plot, Setting, class_order, names_by_rank
from reports.figures.style import (
    COLOURS,
    DOUBLE,
    GROUP_COLOURS,
    GROUP_MARKERS,
    MARKERS,
    SINGLE,
    legend_below,
    new_figure,
    set_panel_title,
    set_subtitle,
)
from reports.figures.training import Histories
from reports.figures.tsne import PERPLEXITY, embedding
from run_store.feature_sample import Sample, load_sample
from run_store.history import GROUPS
from run_store.records import Record

log = logging.getLogger(__name__)

COLUMNS = 4
MARKER_AREA = 3.0  # of a marker, in square points
FEW_CLASSES = len(COLOURS)  # more classes are coloured by rank


def feature_maps(setting: Setting[Record], histories: Histories, class_names: ClassNames = no_class_names) -> Iterator[Plot]:
    """The first run of each method that has a feature sample, by class and by group."""
    drawn = []
    for one in setting.series:
        for f in one.records:
            content = _embedded_sample(histories[f.run_id].folder) if f.run_id in histories else None
            if content is not None:
                drawn.append((one, f, *content))
                break
    if not drawn:
        return
    ranks = [np.argsort(class_order(f)) for _, f, _, _ in drawn]
    classes = len(ranks[0])
    runs = ", ".join(sorted({f"split {f.split} seed {f.seed}" for _, f, _, _ in drawn}))
    images = {len(sample.labels) for _, _, sample, _ in drawn}
    caption = "t-SNE of one run per method; distances between clusters and cluster sizes carry no information."
    details = (
        f"L2-normalised features of {captions.value_range(images)} test images, class-balanced; perplexity {PERPLEXITY:g}, PCA "
        f"initialisation. Runs: {runs}."
    )
    figure, panels = _panels([one.label for one, *_ in drawn])
    for axes, (_, _, sample, xy), rank in zip(panels, drawn, ranks, strict=True):
        _by_class(axes, xy, rank[sample.labels], classes)
    names = names_by_rank([f for _, f, _, _ in drawn], class_names)
    _class_legend(figure, panels, names or [f"class {place + 1}" for place in range(classes)])
    set_subtitle(figure, setting.subtitle)
    class_caption = f"{caption} {'Classes from most to fewest' if names else 'Class 1 has the most'} training images."
    yield Plot("features-class", "Features by class", figure, class_caption, details)
    figure, panels = _panels([one.label for one, *_ in drawn])
    for axes, (_, _, sample, xy) in zip(panels, drawn, strict=True):
        for g, group in enumerate(GROUPS):
            _points(axes, xy[sample.groups == g], GROUP_COLOURS[group], GROUP_MARKERS[group])
    handles = [_marker(GROUP_COLOURS[group], GROUP_MARKERS[group]) for group in GROUPS]
    legend_below(figure, handles, GROUPS)
    set_subtitle(figure, setting.subtitle)
    yield Plot("features-group", "Features by group", figure, caption, f"{details} {captions.groups(setting.first)}")


def _embedded_sample(folder: Path) -> tuple[Sample, NDArray[np.float32]] | None:
    """A run's sample and its embedding; None and a warning for a damaged sample."""
    try:
        sample = load_sample(folder)
        return None if sample is None else (sample, embedding(folder, sample))
    except (UserError, ValueError) as error:
        log.warning("no t-SNE of %s: %s", folder.name, error)
        return None


def _panels(labels: list[str]) -> tuple[Figure, list[Axes]]:
    columns = min(COLUMNS, len(labels))
    width = SINGLE if columns == 1 else DOUBLE
    figure, panels = new_figure(columns, -(-len(labels) // columns), width=width, height=min(2.6, width / columns))
    for axes in panels[len(labels) :]:
        axes.set_axis_off()
    for axes, label in zip(panels, labels, strict=False):
        set_panel_title(axes, label, width / columns)
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(True)
        axes.spines[:].set_color("0.8")
    return figure, panels[: len(labels)]


def _by_class(axes: Axes, xy: NDArray[np.float32], rank: NDArray[np.int64], classes: int) -> None:
    if classes > FEW_CLASSES:
        points = axes.scatter(
            xy[:, 0], xy[:, 1], MARKER_AREA, rank, cmap="viridis", vmin=0, vmax=classes - 1, linewidth=0, rasterized=True
        )
        points.set_alpha(0.8)
        return
    for place in range(classes):
        _points(axes, xy[rank == place], COLOURS[place], MARKERS[place])


def _points(axes: Axes, xy: NDArray[np.float32], colour: str, marker: str) -> None:
    # rasterized in the SVG as well: thousands of vector markers would make the file many times larger
    axes.scatter(xy[:, 0], xy[:, 1], MARKER_AREA, colour, marker=marker, linewidth=0, alpha=0.8, rasterized=True)


def _class_legend(figure: Figure, panels: list[Axes], names: list[str]) -> None:
    classes = len(names)
    if classes > FEW_CLASSES:
        bar = figure.colorbar(
            ScalarMappable(Normalize(1, classes), "viridis"), ax=panels, location="bottom", shrink=0.5, aspect=40, pad=0.02
        )
        bar.set_label("class, from most to fewest training images")
        bar.outline.set_linewidth(0.5)
        figure.set_figheight(figure.get_figheight() + 0.4)
        return
    handles: list[Artist] = [_marker(COLOURS[place], MARKERS[place]) for place in range(classes)]
    legend_below(figure, handles, names)


def _marker(colour: str, marker: str) -> Line2D:
    return Line2D([], [], color=colour, marker=marker, linestyle="none", markersize=3.5)
