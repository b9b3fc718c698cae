"""Accuracy by number of labelled images per class, and by imbalance ratio of the pretraining set."""

from collections.abc import Callable, Iterable, Iterator

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports import captions
from reports.comparable import RunKey, run_key
from reports.figures.setting import MethodOrder, Plot, Series, Setting
from reports.figures.style import legend_below, line_style, log_ticks, new_figure, set_subtitle
from reports.tables.imbalance import COMMON, SIZE_TOLERANCE, equal_size_groups, nominal_ratio, pretraining_sets
from reports.tables.significance import differences, half_interval
from run_store.records import AccuracyRecord

PANELS = {"mean": "all classes", "few": "few classes"}
Points = dict[tuple[float, str], dict[RunKey, float]]  # accuracies of runs by (x, key of the pretraining set)


def fewshot_curve(setting: Setting[AccuracyRecord]) -> Iterator[Plot]:
    """Accuracy by labelled images per class; no figure without a record that has a curve."""

    def points(one: Series[AccuracyRecord], metric: str) -> Points:
        found: Points = {}
        for record in one.records:
            for point in record.curve or []:
                if (value := getattr(point, metric)) is not None:
                    found.setdefault((point.shots, ""), {})[run_key(record)] = value
        return found

    figure, error_bars = _figure(setting, points, "labelled images per class")
    details = f"Each run is the mean over its draws of the labelled images. {captions.groups(setting.first)}"
    if figure is not None:
        yield Plot("fewshot", "Few-shot accuracy", figure, error_bars, details)


def imbalance_curve(setting: Setting[AccuracyRecord]) -> Iterator[Plot]:
    """Accuracy by imbalance ratio, for a result of `imbalance_settings`."""
    sets = pretraining_sets(record for one in setting.series for record in one.records)
    name_of = {id(record): name for name, records in sets for record in records}

    def points(one: Series[AccuracyRecord], metric: str) -> Points:
        found: Points = {}
        for record in one.records:
            value = getattr(record, metric)
            if value is not None:
                found.setdefault((nominal_ratio(record), name_of[id(record)]), {})[run_key(record)] = value
        return found

    figure, error_bars = _figure(setting, points, "imbalance ratio of the pretraining set")
    details = (
        f"{COMMON} "
        "Ratio: largest over smallest class, nominal value of the variant; a point is one pretraining set. Groups are defined "
        "by each variant's own class counts, at ratio 1 by those of the long-tailed set."
    )
    caption = f"Pretraining sets of equal size (within {SIZE_TOLERANCE:.0%}). {error_bars}".strip()
    if figure is not None:
        yield Plot("imbalance", "Accuracy by imbalance ratio", figure, caption, details)


def imbalance_settings(records: Iterable[AccuracyRecord], order: MethodOrder) -> list[Setting[AccuracyRecord]]:
    """The groups of `equal_size_groups`, as in `ratio_tables`."""
    return [
        Setting(order.series(same), same[0].probe, "", f"{key} n={same[0].n_pretrain}")
        for key, same in equal_size_groups(records)
    ]


def _figure(
    setting: Setting[AccuracyRecord], points: Callable[[Series[AccuracyRecord], str], Points], label: str
) -> tuple[Figure | None, str]:
    """One panel for all classes and one for the few, and what its error bars are; None without points."""
    drawn = [(one, {metric: points(one, metric) for metric in PANELS}) for one in setting.series]
    drawn = [(one, by_metric) for one, by_metric in drawn if by_metric["mean"]]
    if not drawn:
        return None, ""
    reference = next((by_metric for one, by_metric in drawn if one is setting.reference), {})
    metrics = [metric for metric in PANELS if any(by_metric[metric] for _, by_metric in drawn)]
    figure, panels = new_figure(len(metrics), height=2.3)
    handles: list[Artist] = []
    has_intervals = False
    for axes, metric in zip(panels, metrics, strict=True):
        for number, (one, by_metric) in enumerate(drawn):
            half = _half_intervals(by_metric[metric], reference.get(metric, {}) if by_metric is not reference else {})
            handle = _line(axes, by_metric[metric], half, one.index, number - (len(drawn) - 1) / 2)
            handles += [handle] if metric == "mean" else []
            has_intervals |= bool(np.isfinite(half).any())
        axes.set_xscale("log")
        log_ticks(axes.xaxis, [x for _, by_metric in drawn for x, _ in by_metric[metric]])
        axes.set(xlabel=label, ylabel=f"test accuracy, {PANELS[metric]}, %")
    legend_below(figure, handles, [one.label for one, _ in drawn])
    set_subtitle(figure, setting.subtitle)
    return figure, setting.error_bars if has_intervals else ""


def _half_intervals(points: Points, reference: Points) -> list[float]:
    """Half of the interval of the mean difference from the reference at each x, ascending; NaN for too few pairs."""
    return [half_interval(differences(points[place], reference.get(place, {}))) for place in sorted(points)]


def _line(axes: Axes, points: Points, half: list[float], place: int, offset: float) -> Artist:
    places = sorted(points)
    means = [float(np.mean(list(points[place].values()))) for place in places]
    # shifted by method, so that error bars do not overlap
    moved = [x * 1.012**offset for x, _ in places]
    container = axes.errorbar(moved, means, half, **line_style(place), elinewidth=0.7, capsize=1.5)
    return container.lines[0]
