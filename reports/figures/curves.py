"""Accuracy against what is varied: the number of labelled images a class, and the imbalance of the pretraining set."""

from collections.abc import Callable, Iterable, Iterator

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports import captions
from reports.figures.setting import Order, Series, Setting, Sketch, mean_and_sd
from reports.figures.style import count_ticks, legend_below, line_look, sized, small_print
from reports.tables.imbalance import SIZES, nominal_ratio, of_equal_size, pretraining_sets
from run_store.records import AccuracyRecord

PANELS = {"mean": "all classes", "few": "few classes"}
Points = dict[tuple[float, str], list[float]]  # accuracies of runs by what is varied, and what else tells them apart


def fewshot_curve(setting: Setting[AccuracyRecord]) -> Iterator[Sketch]:
    """Accuracy by labelled images a class; nothing where no record has a curve."""

    def points(one: Series[AccuracyRecord], metric: str) -> Points:
        found: Points = {}
        for record in one.found:
            for point in record.curve or []:
                if metric in point:
                    found.setdefault((point["shots"], ""), []).append(point[metric])
        return found

    figure = _figure(setting, points, "labelled images of each class")
    about = (
        "Test accuracy by the number of labelled images of each class, for each run the mean over its draws of them; whiskers: "
        f"the deviation over runs. {captions.groups(setting.first)}"
    )
    if figure is not None:
        yield Sketch("fewshot", "Few labels", figure, about)


def imbalance_curve(setting: Setting[AccuracyRecord]) -> Iterator[Sketch]:
    """Accuracy by imbalance ratio; for settings of `imbalance_settings`."""
    sets = pretraining_sets(record for one in setting.series for record in one.found)
    name_of = {id(record): name for name, records in sets for record in records}

    def points(one: Series[AccuracyRecord], metric: str) -> Points:
        found: Points = {}
        for record in one.found:
            value = getattr(record, metric)
            if value is not None:
                found.setdefault((nominal_ratio(record), name_of[id(record)]), []).append(value)
        return found

    figure = _figure(setting, points, "imbalance ratio of the pretraining set")
    about = (
        "Test accuracy by imbalance ratio (largest class over smallest, as the profile is named) of pretraining sets of one "
        f"size, within {SIZES:.0%}; points and whiskers: of the runs of one such set. Groups are of each profile's own "
        "counts, at ratio 1 of the long-tailed set's."
    )
    if figure is not None:
        yield Sketch("imbalance", "Accuracy by imbalance", figure, about)


def imbalance_settings(records: Iterable[AccuracyRecord], order: Order) -> list[Setting[AccuracyRecord]]:
    """Records of pretraining sets of one size and at least two ratios, all else equal: the groups of `ratio_tables`."""
    return [
        Setting(order.series(same), same[0].probe, "", f"{key} n={same[0].n_pretrain}") for key, same in of_equal_size(records)
    ]


def _figure(
    setting: Setting[AccuracyRecord], points: Callable[[Series[AccuracyRecord], str], Points], label: str
) -> Figure | None:
    """A panel for all and one for the few classes; None where there are no points."""
    drawn = [(one, {metric: points(one, metric) for metric in PANELS}) for one in setting.series]
    drawn = [(one, by_metric) for one, by_metric in drawn if by_metric["mean"]]
    if not drawn:
        return None
    metrics = [metric for metric in PANELS if any(by_metric[metric] for _, by_metric in drawn)]
    figure, panels = sized(len(metrics), height=2.3)
    handles: list[Artist] = []
    for axes, metric in zip(panels, metrics, strict=True):
        for number, (one, by_metric) in enumerate(drawn):
            handle = _line(axes, by_metric[metric], one.place, number - (len(drawn) - 1) / 2)
            handles += [handle] if metric == "mean" else []
        axes.set_xscale("log")
        count_ticks(axes.xaxis, [x for _, by_metric in drawn for x, _ in by_metric[metric]])
        axes.set(xlabel=label, ylabel=f"test accuracy, {PANELS[metric]}, %")
    legend_below(figure, handles, [one.label for one, _ in drawn])
    small_print(figure, setting.line)
    return figure


def _line(axes: Axes, points: Points, place: int, offset: float) -> Artist:
    places = sorted(points)
    means, sds = zip(*(mean_and_sd(points[place]) for place in places), strict=True) if places else ((), ())
    whiskers = [np.nan if sd is None else float(sd) for sd in sds]
    # a little beside each other, so that whiskers of many methods can be told apart
    moved = [x * 1.012**offset for x, _ in places]
    container = axes.errorbar(moved, [float(m) for m in means], whiskers, **line_look(place), elinewidth=0.7, capsize=1.5)
    return container.lines[0]
