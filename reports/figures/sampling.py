"""COLT: images sampled from the out-of-distribution pool for each cluster, against the tailness of the cluster."""

from collections.abc import Iterator

import numpy as np
from matplotlib.artist import Artist

from reports.figures.setting import Plot, Setting
from reports.figures.style import GREY, legend_below, line_style, new_figure, set_subtitle
from reports.figures.training import Histories
from run_store.records import Record

SMALLEST, LARGEST = 8, 90  # marker area of a cluster, in square points


def sampled_clusters(setting: Setting[Record], histories: Histories) -> Iterator[Plot]:
    """One marker per cluster, of all runs; no figure if no run sampled from a pool."""
    found = [
        (one, [s for f in one.records if f.run_id in histories and (s := histories[f.run_id].sampling) is not None])
        for one in setting.series
    ]
    drawn = [(one, samplings) for one, samplings in found if samplings]
    if not drawn:
        return
    figure, (by_truth, by_tailness) = new_figure(2, height=2.3)
    handles: list[Artist] = []
    every = [sampling for _, samplings in drawn for sampling in samplings]
    most = max(float(sampling.images.max()) for sampling in every)
    for one, samplings in drawn:
        style = line_style(one.index)
        for sampling in samplings:
            area = SMALLEST + (LARGEST - SMALLEST) * sampling.images / most
            for axes, x in ((by_truth, 100 * sampling.few), (by_tailness, sampling.tailness)):
                points = axes.scatter(
                    x, sampling.sampled, area, facecolor=style["color"], marker=style["marker"], alpha=0.55, edgecolor="black"
                )
                points.set_linewidth(0.4)
        handles.append(points)
    few = float(np.mean([100 * np.average(s.few, weights=s.images) for s in every]))
    even = float(np.mean([s.sampled.mean() for s in every]))
    by_truth.axvline(few, color=GREY, linewidth=0.8, linestyle=(0, (2, 2)), zorder=1)
    for axes in (by_truth, by_tailness):
        axes.axhline(even, color=GREY, linewidth=0.8, linestyle=(0, (2, 2)), zorder=1)
        axes.margins(0.1)
        axes.set_ylabel("images sampled")
    by_truth.set_xlabel("few-class images in the cluster, %")
    by_tailness.set_xlabel("tailness score of the cluster")
    by_truth.set_xlim(left=min(0, by_truth.get_xlim()[0]))
    legend_below(figure, handles, [one.label for one, _ in drawn])
    set_subtitle(figure, setting.subtitle)
    caption = "Images of the last sampling per cluster. Area: training images in the cluster."
    details = (
        "Left: against the true percentage of few-class images; right: against the tailness score that splits the budget "
        "(negative mean confusion, standardised). Dashed: percentage in the whole set, and uniform budget. All runs are shown."
    )
    yield Plot("sampling", "Images sampled per cluster", figure, caption, details)
