"""TASE: temperature and weight by epoch and group, and by class size."""

import logging
from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from core.errors import UserError
from reports import captions
from reports.figures.setting import Plot, Series, Setting, mean_and_std
from reports.figures.style import (
    DOUBLE,
    GROUP_COLOURS,
    GROUP_LINES,
    SINGLE,
    epoch_axis,
    legend_below,
    log_ticks,
    new_figure,
    set_panel_title,
    set_subtitle,
)
from reports.figures.training import Histories
from run_store.class_quantiles import ClassQuantiles, load_class_quantiles
from run_store.history import GROUPS, History
from run_store.records import Record

log = logging.getLogger(__name__)

QUANTITIES = ("temperature", "weight")
COLUMNS = 3
MIN_RANGE = 1e-4  # a smaller range counts as constant, e.g. weights without re-weighting
LIGHT, MIDDLE, DARK = "#cfe3f2", "#8fc0e4", "#0072B2"


def quantity_by_epoch(setting: Setting[Record], histories: Histories) -> Iterator[Plot]:
    """One figure per quantity, one panel per method: group means by epoch."""
    for name in QUANTITIES:
        found = [(one, [h for h in _histories(one, histories) if name in h.groups]) for one in setting.series]
        drawn = [(one, runs) for one, runs in found if any(_range(history.groups[name]) > MIN_RANGE for history in runs)]
        if not drawn:
            continue
        figure, panels = _panels([one for one, _ in drawn])
        for axes, (_, runs) in zip(panels, drawn, strict=True):
            _epochs(axes, runs, name)
            epoch_axis(axes)
            axes.set_ylabel(f"mean {name}")
        handles: list[Artist] = [Line2D([], [], color=GROUP_COLOURS[g], linestyle=GROUP_LINES[g]) for g in GROUPS]
        legend_below(figure, handles, GROUPS)
        set_subtitle(figure, setting.subtitle)
        caption = f"Mean {name} of the training images of each group (true labels). Band: std over runs."
        yield Plot(f"{name}-epochs", f"{name.capitalize()} by epoch", figure, caption, captions.groups(setting.first))


def quantity_by_class_size(setting: Setting[Record], histories: Histories) -> Iterator[Plot]:
    """One figure per quantity, one panel per method: quantiles within each class by class size."""
    loaded = [(one, [_quantiles(history) for history in _histories(one, histories)]) for one in setting.series]
    for name in QUANTITIES:
        kept = [(one, [c for c in runs if c and name in c.values and np.ptp(c.counts)]) for one, runs in loaded]
        drawn = [(one, runs) for one, runs in kept if any(_range(content.values[name]) > MIN_RANGE for content in runs)]
        if not drawn:
            continue
        figure, panels = _panels([one for one, _ in drawn])
        for axes, (_, runs) in zip(panels, drawn, strict=True):
            _sizes(axes, runs, name)
            axes.set(xscale="log", xlabel="training images of the class", ylabel=name)
            log_ticks(axes.xaxis)
        handles: list[Artist] = [Line2D([], [], color=DARK, marker="o"), Patch(facecolor=MIDDLE), Patch(facecolor=LIGHT)]
        legend_below(figure, handles, ["median", "25 to 75 %", "5 to 95 %"])
        set_subtitle(figure, setting.subtitle)
        caption = f"Quantiles within each class (true labels) of the final {name} per training image, mean over runs."
        yield Plot(f"{name}-sizes", f"{name.capitalize()} by class size", figure, caption)


def _histories(one: Series[Record], histories: Histories) -> list[History]:
    return [history for f in one.records if (history := histories.get(f.run_id)) is not None]


def _quantiles(history: History) -> ClassQuantiles | None:
    """Quantiles by class of a run; None, and a warning, for a damaged file."""
    try:
        return load_class_quantiles(history.folder)
    except UserError as error:
        log.warning("%s; figures by class size leave out this run", error)
        return None


def _panels(series: Sequence[Series[Record]]) -> tuple[Figure, list[Axes]]:
    """One panel per method with a shared y axis."""
    columns = min(COLUMNS, len(series))
    figure, panels = new_figure(columns, -(-len(series) // columns), width=SINGLE if columns == 1 else DOUBLE, height=2.0)
    for axes in panels[len(series) :]:
        axes.set_axis_off()
    for axes, one in zip(panels, series, strict=False):
        axes.sharey(panels[0]) if axes is not panels[0] else None
        set_panel_title(axes, one.label, figure.get_figwidth() / columns)
    return figure, panels[: len(series)]


def _epochs(axes: Axes, runs: Sequence[History], name: str) -> None:
    last = max(int(history.epoch[-1]) for history in runs)
    table = np.full((len(runs), last, len(GROUPS)), np.nan)
    for rows, history in zip(table, runs, strict=True):
        rows[history.epoch - 1] = history.groups[name]
    mean, sd = mean_and_std(table)
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


def _range(values: np.ndarray) -> float:
    """Range of the finite values; 0 without any."""
    finite = values[np.isfinite(values)]
    return float(np.ptp(finite)) if len(finite) else 0.0
