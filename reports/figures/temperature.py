"""TASE's temperatures and weights: by epoch in the true many, medium and few classes, and against the size of the class."""

import logging
from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from reports import captions
from reports.figures.setting import Series, Setting, Sketch, mean_and_sd
from reports.figures.style import (
    DOUBLE,
    GROUP_COLOURS,
    GROUP_LINES,
    SINGLE,
    count_ticks,
    legend_below,
    sized,
    small_print,
    titled,
)
from reports.figures.training import Histories
from run_store.class_quantiles import ClassQuantiles, load_class_quantiles
from run_store.history import GROUPS, History
from run_store.records import Record

log = logging.getLogger(__name__)

QUANTITIES = ("temperature", "weight")
COLUMNS = 3
LEAST = 1e-4  # a quantity that varies by less is the same everywhere, such as weights where there is no re-weighting
LIGHT, MIDDLE, DARK = "#cfe3f2", "#8fc0e4", "#0072B2"


def by_epoch(setting: Setting[Record], histories: Histories) -> Iterator[Sketch]:
    """A figure a quantity, a panel a method: the groups' means by epoch."""
    for name in QUANTITIES:
        found = [(one, [h for h in _histories(one, histories) if name in h.groups]) for one in setting.series]
        drawn = [(one, runs) for one, runs in found if any(_spread(history.groups[name]) > LEAST for history in runs)]
        if not drawn:
            continue
        figure, panels = _panels([one for one, _ in drawn])
        for axes, (_, runs) in zip(panels, drawn, strict=True):
            _epochs(axes, runs, name)
            axes.set(xlabel="epoch", ylabel=f"mean {name}")
        handles: list[Artist] = [Line2D([], [], color=GROUP_COLOURS[g], linestyle=GROUP_LINES[g]) for g in GROUPS]
        legend_below(figure, handles, GROUPS)
        small_print(figure, setting.line)
        about = (
            f"Mean {name} kept for the pretraining images of the true many, medium and few classes, by epoch; band: the "
            f"deviation over runs. {captions.groups(setting.first)}"
        )
        yield Sketch(f"{name}-epochs", f"{name.capitalize()} by epoch", figure, about)


def by_class_size(setting: Setting[Record], histories: Histories) -> Iterator[Sketch]:
    """A figure a quantity, a panel a method: its distribution within each class against the class's images."""
    loaded = [(one, [_kept(history) for history in _histories(one, histories)]) for one in setting.series]
    for name in QUANTITIES:
        kept = [(one, [c for c in runs if c and name in c.values and np.ptp(c.counts)]) for one, runs in loaded]
        drawn = [(one, runs) for one, runs in kept if any(_spread(content.values[name]) > LEAST for content in runs)]
        if not drawn:
            continue
        figure, panels = _panels([one for one, _ in drawn])
        for axes, (_, runs) in zip(panels, drawn, strict=True):
            _sizes(axes, runs, name)
            axes.set(xscale="log", xlabel="training images of the class", ylabel=name)
            count_ticks(axes.xaxis)
        handles: list[Artist] = [Line2D([], [], color=DARK, marker="o"), Patch(facecolor=MIDDLE), Patch(facecolor=LIGHT)]
        legend_below(figure, handles, ["median", "middle half", "5 to 95 %"])
        small_print(figure, setting.line)
        about = (
            f"The {name} kept for each pretraining image at the end of training, by the number of images of its true class: "
            "quantiles within the class, classes by size, mean over runs."
        )
        yield Sketch(f"{name}-sizes", f"{name.capitalize()} by class size", figure, about)


def _histories(one: Series[Record], histories: Histories) -> list[History]:
    return [history for f in one.found if (history := histories.get(f.run_id)) is not None]


def _kept(history: History) -> ClassQuantiles | None:
    """What a run keeps; None, and a line, where the file is damaged."""
    try:
        return load_class_quantiles(history.folder)
    except ValueError as error:
        log.warning("%s; the run is left out of figures by class", error)
        return None


def _panels(series: Sequence[Series[Record]]) -> tuple[Figure, list[Axes]]:
    """A panel a method, on one scale."""
    columns = min(COLUMNS, len(series))
    figure, panels = sized(columns, -(-len(series) // columns), width=SINGLE if columns == 1 else DOUBLE, height=2.0)
    for axes in panels[len(series) :]:
        axes.set_axis_off()
    for axes, one in zip(panels, series, strict=False):
        axes.sharey(panels[0]) if axes is not panels[0] else None
        titled(axes, one.label, figure.get_figwidth() / columns)
    return figure, panels[: len(series)]


def _epochs(axes: Axes, runs: Sequence[History], name: str) -> None:
    last = max(int(history.epoch[-1]) for history in runs)
    table = np.full((len(runs), last, len(GROUPS)), np.nan)
    for rows, history in zip(table, runs, strict=True):
        rows[history.epoch - 1] = history.groups[name]
    mean, sd = mean_and_sd(table)
    for g, group in enumerate(GROUPS):
        axes.plot(np.arange(1, last + 1), mean[:, g], color=GROUP_COLOURS[group], linestyle=GROUP_LINES[group])
        if sd is not None:
            low, high = mean[:, g] - sd[:, g], mean[:, g] + sd[:, g]
            axes.fill_between(np.arange(1, last + 1), low, high, color=GROUP_COLOURS[group], alpha=0.15, linewidth=0)


def _sizes(axes: Axes, runs: Sequence[ClassQuantiles], name: str) -> None:
    orders = [np.argsort(-content.counts, kind="stable") for content in runs]
    counts = np.mean([content.counts[order] for content, order in zip(runs, orders, strict=True)], axis=0)
    table = np.mean([content.values[name][order] for content, order in zip(runs, orders, strict=True)], axis=0)
    seen = np.isfinite(table).all(axis=1) & (counts > 0)
    x, (lowest, low, median, high, highest) = counts[seen], table[seen].T
    axes.fill_between(x, lowest, highest, color=LIGHT, linewidth=0)
    axes.fill_between(x, low, high, color=MIDDLE, linewidth=0)
    axes.plot(x, median, color=DARK, marker="o", markersize=3 if len(x) <= 20 else 1.5)


def _spread(values: np.ndarray) -> float:
    """How far apart the finite values are; 0 where there are none."""
    finite = values[np.isfinite(values)]
    return float(np.ptp(finite)) if len(finite) else 0.0
