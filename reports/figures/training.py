"""Training curves: loss, learning rate, throughput, and tail detection by epoch."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from numpy.typing import NDArray

from reports import captions
from reports.figures.setting import Plot, Series, Setting, mean_and_std
from reports.figures.style import DOUBLE, GREY, SINGLE, epoch_axis, legend_below, line_style, new_figure, set_subtitle
from run_store.history import History
from run_store.records import Record

Histories = Mapping[str, History]  # by run id
PANELS = {"loss": "training loss", "lr": "learning rate", "images_per_second": "images/s"}
MARKERS_PER_LINE = 8
SMOOTHED = 5  # epochs of the running median of the throughput


def training_curves(setting: Setting[Record], histories: Histories) -> Iterator[Plot]:
    """Loss, learning rate and images per second by epoch; no figure without a log."""
    logged = _logged(setting, histories)
    if not logged:
        return
    figure, panels = new_figure(3, height=2.0)
    lines: list[Artist] = []
    for axes, (name, label) in zip(panels, PANELS.items(), strict=True):
        drawn = [(one, _by_epoch(runs, name)) for one, runs in logged]
        same = name == "lr" and all(_equal(mean, drawn[0][1][0]) for _, (mean, _) in drawn)
        for one, (mean, sd) in drawn[:1] if same and len(drawn) > 1 else drawn:
            style = {"color": "black", "linestyle": "-"} if same and len(drawn) > 1 else line_style(one.index)
            handle = _line(axes, mean, sd, style)
            lines += [handle] if name == "loss" else []
        if same and len(drawn) > 1:
            axes.annotate("all methods", (1, 1), (-2, -2), "axes fraction", "offset points", ha="right", va="top", color="0.4")
        epoch_axis(axes)
        axes.set_ylabel(label)
        if name != "loss":
            axes.set_ylim(bottom=0)
    legend_below(figure, lines, [one.label for one, _ in logged])
    set_subtitle(figure, setting.subtitle)
    caption = "Band: std over runs. Losses of different methods are not comparable."
    details = (
        f"Learning rate at the end of the epoch; images per second: running median over {SMOOTHED} epochs, comparable only if "
        "no other process used the machine."
    )
    yield Plot("training", "Training curves", figure, caption, details)


def tail_curves(setting: Setting[Record], histories: Histories) -> Iterator[Plot]:
    """AUROC of the tail scores by epoch; no figure without scores."""
    logged = [
        (one, runs) for one, runs in _logged(setting, histories) if all(np.isfinite(history.auroc).any() for history in runs)
    ]
    if not logged:
        return
    figure, (axes,) = new_figure(width=DOUBLE if len(logged) > 5 else SINGLE, height=2.3)
    lines = [_line(axes, *_by_epoch(runs, "auroc"), line_style(one.index)) for one, runs in logged]
    lines.append(axes.axhline(0.5, color=GREY, linewidth=0.8, linestyle=(0, (2, 2)), zorder=1))
    epoch_axis(axes)
    axes.set_ylabel("AUROC of the tail score")
    legend_below(figure, lines, [*(one.label for one, _ in logged), "chance"])
    set_subtitle(figure, setting.subtitle)
    caption = "AUROC of the tail score for training images of the few classes; chance: 0.5. Band: std over runs."
    yield Plot("tail", "Tail detection", figure, caption, captions.groups(setting.first))


def _logged(setting: Setting[Record], histories: Histories) -> list[tuple[Series[Record], list[History]]]:
    """Methods with the training histories of their runs."""
    found = [(one, [histories[f.run_id] for f in one.records if f.run_id in histories]) for one in setting.series]
    kept = [(one, [history for history in runs if len(history.epoch)]) for one, runs in found]
    return [(one, runs) for one, runs in kept if runs]


def _by_epoch(runs: Sequence[History], name: str) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """Mean and standard deviation over runs at epochs 1, 2, ...; NaN where a run has no value."""
    last = max(int(history.epoch[-1]) for history in runs)
    table = np.full((len(runs), last), np.nan)
    for row, history in zip(table, runs, strict=True):
        row[history.epoch - 1] = getattr(history, name)
    if name == "images_per_second":  # other processes on the machine make it noisy
        table = pd.DataFrame(table.T).rolling(SMOOTHED, center=True, min_periods=1).median().to_numpy().T
    return mean_and_std(table)


def _equal(one: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    return one.shape == other.shape and np.allclose(one, other, rtol=1e-6, equal_nan=True)


def _line(axes: Axes, mean: NDArray[np.float64], sd: NDArray[np.float64] | None, style: Mapping[str, Any]) -> Artist:
    epochs = np.arange(1, len(mean) + 1)
    (line,) = axes.plot(epochs, mean, **style, markevery=max(1, len(mean) // MARKERS_PER_LINE), zorder=3)
    if sd is not None:
        axes.fill_between(epochs, mean - sd, mean + sd, color=style["color"], alpha=0.15, linewidth=0, zorder=2)
    return line
