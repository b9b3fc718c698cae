"""Where COLT's images from elsewhere went: how many each cluster got, beside how much of the tail is in it."""

from collections.abc import Iterator

import numpy as np
from matplotlib.artist import Artist

from reports.figures.setting import Setting, Sketch
from reports.figures.style import FAINT, legend_below, line_look, sized, small_print
from reports.figures.training import Histories
from run_store.records import Record

SMALLEST, LARGEST = 8, 90  # points squared, area of a cluster's mark


def sampled_clusters(setting: Setting[Record], histories: Histories) -> Iterator[Sketch]:
    """A mark a cluster, all runs of a method alike; nothing where no run sampled."""
    found = [
        (one, [s for f in one.found if f.run_id in histories and (s := histories[f.run_id].sampling) is not None])
        for one in setting.series
    ]
    drawn = [(one, samplings) for one, samplings in found if samplings]
    if not drawn:
        return
    figure, (by_truth, by_tailness) = sized(2, height=2.3)
    handles: list[Artist] = []
    every = [sampling for _, samplings in drawn for sampling in samplings]
    most = max(float(sampling.images.max()) for sampling in every)
    for one, samplings in drawn:
        look = line_look(one.place)
        for sampling in samplings:
            area = SMALLEST + (LARGEST - SMALLEST) * sampling.images / most
            for axes, x in ((by_truth, 100 * sampling.few), (by_tailness, sampling.tailness)):
                points = axes.scatter(
                    x, sampling.sampled, area, facecolor=look["color"], marker=look["marker"], alpha=0.55, edgecolor="black"
                )
                points.set_linewidth(0.4)
        handles.append(points)
    few = float(np.mean([100 * np.average(s.few, weights=s.images) for s in every]))
    even = float(np.mean([s.sampled.mean() for s in every]))
    by_truth.axvline(few, color=FAINT, linewidth=0.8, linestyle=(0, (2, 2)), zorder=1)
    for axes in (by_truth, by_tailness):
        axes.axhline(even, color=FAINT, linewidth=0.8, linestyle=(0, (2, 2)), zorder=1)
        axes.margins(0.1)
        axes.set_ylabel("images sampled")
    by_truth.set_xlabel("images of few classes in the cluster, %")
    by_tailness.set_xlabel("tailness that the method gave it")
    by_truth.set_xlim(left=min(0, by_truth.get_xlim()[0]))
    legend_below(figure, handles, [one.label for one, _ in drawn])
    small_print(figure, setting.line)
    about = (
        "Images drawn from the pool for each cluster of training images, the last time: against the true share of images of "
        "few classes in the cluster, and against the tailness by which the budget was shared (minus the mean confusion, "
        "standardised). Area: training images in the cluster. Dashed: the share in the whole set, and an even budget. All runs "
        "together."
    )
    yield Sketch("sampling", "Images sampled for each cluster", figure, about)
