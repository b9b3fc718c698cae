"""Accuracy by class, sorted by number of training images, and accuracy of the many, medium and few groups."""

from collections.abc import Iterator

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from core.words import counted
from reports import captions
from reports.comparable import ClassNames, no_class_names
from reports.figures.setting import MAX_NAMED, Plot, Series, Setting, class_order, mean_and_std, names_by_rank
from reports.figures.style import DOUBLE, GREY, SINGLE, bar_style, legend_below, line_style, log_ticks, new_figure, set_subtitle
from reports.tables.significance import half_interval, paired_differences
from run_store.records import AccuracyRecord

MAX_UNSMOOTHED = MAX_NAMED  # more classes are plotted as a running mean
MARKERS_PER_LINE = 25
MAX_BANDS = 3  # of more methods, bands would hide the lines
COUNTS_HEIGHT = 0.4  # maximum height of the class counts, as a fraction of the axes
GROUPS = {"mean": "All", "many": "Many", "medium": "Medium", "few": "Few"}


def class_accuracy(setting: Setting[AccuracyRecord], class_names: ClassNames = no_class_names) -> Iterator[Plot]:
    """One line per method over the class rank; the number of training images is shaded, on a second axis.

    Classes are named on the axis if there are few, and if their order is the same in all runs.
    """
    classes = len(setting.first.class_accuracy)
    window = max(1, classes // 10 | 1) if classes > MAX_UNSMOOTHED else 1
    figure, (axes,) = new_figure(width=DOUBLE if len(setting.series) > 3 or window > 1 else SINGLE, height=2.5)
    ranks = np.arange(1, classes + 1)
    _shade(axes, ranks, np.mean([_ordered(r.class_counts, r) for one in setting.series for r in one.records], axis=0))
    lines = []
    has_bands = len(setting.series) <= MAX_BANDS
    for one in setting.series:
        by_run = [_smooth(_ordered(record.class_accuracy, record), window) for record in one.records]
        mean, sd = mean_and_std(by_run)
        style = line_style(one.index)
        lines += axes.plot(ranks, mean, **style, markevery=max(1, classes // MARKERS_PER_LINE), zorder=3)
        if sd is not None and has_bands:
            axes.fill_between(ranks, mean - sd, mean + sd, color=style["color"], alpha=0.12, linewidth=0, zorder=2)
    axes.set(xlabel="classes, from most to fewest training images", ylabel="test accuracy, %", xlim=(0.5, classes + 0.5))
    if names := names_by_rank(setting.records, class_names):
        axes.set_xticks(ranks, names, rotation=40, ha="right", rotation_mode="anchor")
    elif classes <= MAX_UNSMOOTHED:
        axes.set_xticks(ranks)
    axes.grid(visible=False, axis="x")
    legend_below(figure, lines, [one.label for one in setting.series])
    set_subtitle(figure, setting.subtitle)
    smoothed = f" Running mean over {window} classes, fewer at the ends." if window > 1 else ""
    caption = f"{'Band: std over runs. ' * has_bands}Grey: training images per class (right axis).{smoothed}"
    details = "Classes are sorted by the training images of each run's own split."
    yield Plot("classes", "Accuracy by class", figure, caption, details)


def group_accuracy(setting: Setting[AccuracyRecord]) -> Iterator[Plot]:
    """Bars of all, many, medium and few classes, one per method, with the intervals of the differences from SimCLR."""
    count = len(setting.series)
    reference = setting.reference
    figure, (axes,) = new_figure(width=DOUBLE if count > 4 else SINGLE, height=2.3)
    step = 0.84 / count
    bars = []
    tops = [0.0]
    has_intervals = False
    for number, one in enumerate(setting.series):
        offset = (number - (count - 1) / 2) * step
        # a group without classes has no value in any run
        drawn = [key for key in GROUPS if all(getattr(record, key) is not None for record in one.records)]
        places = np.array([list(GROUPS).index(key) + offset for key in drawn])
        mean, _ = mean_and_std([[getattr(record, key) for key in drawn] for record in one.records])
        half = np.array([_half_interval(one, reference, key) for key in drawn])
        bars.append(axes.bar(places, mean, step * 0.92, **bar_style(one.index)))
        if (known := np.isfinite(half)).any():
            has_intervals = True
            cap = min(2, 8 * step)
            axes.errorbar(places[known], mean[known], half[known], fmt="none", ecolor="black", elinewidth=0.7, capsize=cap)
        tops.append(float(np.max(mean + np.nan_to_num(half))))
    sizes = [len(setting.first.class_accuracy), *setting.first.group_sizes]
    for place, size in enumerate(sizes):
        if not size:
            axes.text(place, 0, " no classes", rotation=90, ha="center", va="bottom", color=GREY)
    names = [f"{name}\n{counted(size, 'class')}" for name, size in zip(GROUPS.values(), sizes, strict=True)]
    axes.set_xticks(range(len(GROUPS)), names)
    axes.set(ylabel="test accuracy, %", xlim=(-0.5, len(GROUPS) - 0.5), ylim=(0, min(100, 1.08 * max(tops)) or 1))
    axes.tick_params(axis="x", length=0)
    axes.grid(visible=False, axis="x")
    legend_below(figure, bars, [one.label for one in setting.series])
    set_subtitle(figure, setting.subtitle)
    caption = setting.error_bars if has_intervals else ""
    yield Plot("groups", "Accuracy of many, medium and few", figure, caption, captions.groups(setting.first))


def _half_interval(one: Series[AccuracyRecord], reference: Series[AccuracyRecord] | None, metric: str) -> float:
    """Half of the interval of the mean difference from the reference; NaN for itself and for too few pairs."""
    if reference is None or one is reference:
        return np.nan
    return half_interval(paired_differences(one.records, reference.records, metric))


def _ordered(values: list[float] | list[int], record: AccuracyRecord) -> NDArray[np.float64]:
    """(C,) values by class, most training images first, ties by class number."""
    return np.asarray(values, dtype=np.float64)[class_order(record)]


def _smooth(values: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """Centred running mean over `window` (odd) values, fewer at the ends."""
    kernel = np.ones(window)
    return np.convolve(values, kernel, "same") / np.convolve(np.ones(len(values)), kernel, "same")


def _shade(axes: Axes, ranks: NDArray[np.int64], counts: NDArray[np.float64]) -> None:
    """Class counts as grey steps below the lines."""
    count_axes = axes.twinx()
    edges = np.append(ranks - 0.5, ranks[-1] + 0.5)
    largest, smallest = counts.max(), max(counts.min(), 0.5)
    count_axes.stairs(np.maximum(counts, 0.5), edges, fill=True, color="0.92", baseline=smallest / 2)
    count_axes.set_ylabel("training images", loc="bottom")
    count_axes.set(yscale="log", ylim=(smallest / 2, largest * (2 * largest / smallest) ** (1 / COUNTS_HEIGHT - 1)))
    between = [decade for decade in 10.0 ** np.arange(7) if 2.5 * smallest < decade < largest / 2.5]
    log_ticks(count_axes.yaxis, [smallest, *between, largest])
    count_axes.grid(visible=False)
    count_axes.spines["right"].set_visible(True)
    count_axes.spines["right"].set_color(GREY)
    count_axes.tick_params(axis="y", colors="0.4", which="both")
    count_axes.yaxis.label.set_color("0.4")
    count_axes.set_zorder(axes.get_zorder() - 1)
