"""How training went, epoch by epoch: loss, learning rate and speed; and how well the tail scores find the tail."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from numpy.typing import NDArray

from reports import captions
from reports.figures.setting import Series, Setting, Sketch, mean_and_sd
from reports.figures.style import DOUBLE, FAINT, SINGLE, legend_below, line_look, sized, small_print
from run_store.history import History
from run_store.records import Record

Histories = Mapping[str, History]  # by run id
PANELS = {"loss": "training loss", "lr": "learning rate", "images_per_second": "images/s"}
MARKED = 8  # markers on a line
SMOOTHED = 5  # epochs of the running median of the speed


def training_curves(setting: Setting[Record], histories: Histories) -> Iterator[Sketch]:
    """Loss, learning rate and images a second by epoch; nothing where no run has a log."""
    logged = _logged(setting, histories)
    if not logged:
        return
    figure, panels = sized(3, height=2.0)
    lines: list[Artist] = []
    for axes, (name, label) in zip(panels, PANELS.items(), strict=True):
        drawn = [(one, _by_epoch(runs, name)) for one, runs in logged]
        same = name == "lr" and all(_equal(mean, drawn[0][1][0]) for _, (mean, _) in drawn)
        for one, (mean, sd) in drawn[:1] if same and len(drawn) > 1 else drawn:
            look = {"color": "black", "linestyle": "-"} if same and len(drawn) > 1 else line_look(one.place)
            handle = _line(axes, mean, sd, look)
            lines += [handle] if name == "loss" else []
        if same and len(drawn) > 1:
            axes.annotate("all methods", (1, 1), (-2, -2), "axes fraction", "offset points", ha="right", va="top", color="0.4")
        axes.set(xlabel="epoch", ylabel=label)
        if name != "loss":
            axes.set_ylim(bottom=0)
    legend_below(figure, lines, [one.label for one, _ in logged])
    small_print(figure, setting.line)
    about = (
        "Training loss, learning rate at the end of the epoch and source images a second (running median over "
        f"{SMOOTHED} epochs), by epoch; band: the deviation. Losses of different methods are different quantities; speeds are "
        "comparable only where nothing else ran beside."
    )
    yield Sketch("training", "Training curves", figure, about)


def tail_curves(setting: Setting[Record], histories: Histories) -> Iterator[Sketch]:
    """AUROC of the tail scores by epoch; nothing where no log has any."""
    logged = [
        (one, runs) for one, runs in _logged(setting, histories) if all(np.isfinite(history.auroc).any() for history in runs)
    ]
    if not logged:
        return
    figure, (axes,) = sized(width=DOUBLE if len(logged) > 5 else SINGLE, height=2.3)
    lines = [_line(axes, *_by_epoch(runs, "auroc"), line_look(one.place)) for one, runs in logged]
    lines.append(axes.axhline(0.5, color=FAINT, linewidth=0.8, linestyle=(0, (2, 2)), zorder=1))
    axes.set(xlabel="epoch", ylabel="AUROC of the tail score")
    legend_below(figure, lines, [*(one.label for one, _ in logged), "by chance"])
    small_print(figure, setting.line)
    about = (
        "How well each method's tail score singles out the pretraining images of the few classes, by epoch: area under the ROC "
        f"curve, 0.5 by chance; band: the deviation. {captions.groups(setting.first)}"
    )
    yield Sketch("tail", "Does the tail score find the tail?", figure, about)


def _logged(setting: Setting[Record], histories: Histories) -> list[tuple[Series[Record], list[History]]]:
    """Methods with the histories of those of their runs that have one."""
    found = [(one, [histories[f.run_id] for f in one.found if f.run_id in histories]) for one in setting.series]
    kept = [(one, [history for history in runs if len(history.epoch)]) for one, runs in found]
    return [(one, runs) for one, runs in kept if runs]


def _by_epoch(runs: Sequence[History], name: str) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """Mean and deviation of a column at the epochs 1, 2, ...; NaN where a run has no number."""
    last = max(int(history.epoch[-1]) for history in runs)
    table = np.full((len(runs), last), np.nan)
    for row, history in zip(table, runs, strict=True):
        row[history.epoch - 1] = getattr(history, name)
    if name == "images_per_second":  # other work on the machine makes it jump
        table = pd.DataFrame(table.T).rolling(SMOOTHED, center=True, min_periods=1).median().to_numpy().T
    return mean_and_sd(table)


def _equal(one: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    return one.shape == other.shape and np.allclose(one, other, rtol=1e-6, equal_nan=True)


def _line(axes: Axes, mean: NDArray[np.float64], sd: NDArray[np.float64] | None, look: Mapping[str, Any]) -> Artist:
    epochs = np.arange(1, len(mean) + 1)
    (line,) = axes.plot(epochs, mean, **look, markevery=max(1, len(mean) // MARKED), zorder=3)
    if sd is not None:
        axes.fill_between(epochs, mean - sd, mean + sd, color=look["color"], alpha=0.15, linewidth=0, zorder=2)
    return line
