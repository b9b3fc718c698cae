"""Alignment, uniformity and effective rank of the test features by group."""

from collections.abc import Iterator

import numpy as np
from matplotlib.container import Container

from reports import captions
from reports.figures.setting import Plot, Setting, mean_and_std
from reports.figures.style import legend_below, line_style, new_figure, set_subtitle
from run_store.records import GeometryRecord

PANELS = {
    "alignment": "alignment (lower: tighter)",
    "uniformity": "uniformity (lower: more even)",
    "effective_rank": "effective rank",
}
GROUPS = ("all", "many", "medium", "few")


def group_geometry(setting: Setting[GeometryRecord]) -> Iterator[Plot]:
    """One panel per measure, one marker per method and group."""
    figure, panels = new_figure(3, height=2.2)
    count = len(setting.series)
    handles: list[Container] = []
    for axes, (name, label) in zip(panels, PANELS.items(), strict=True):
        for number, one in enumerate(setting.series):
            found = [getattr(geometry, name) for geometry in one.records]
            drawn = [group for group in GROUPS if all(values.get(group) is not None for values in found)]
            mean, sd = mean_and_std([[values[group] for group in drawn] for values in found])
            places = np.array([GROUPS.index(group) for group in drawn]) + (number - (count - 1) / 2) * min(0.16, 0.8 / count)
            style = line_style(one.index) | {"linestyle": "none"}
            marks = axes.errorbar(places, mean, sd, **style, elinewidth=0.7, capsize=1.5)
            handles += [marks] if name == "alignment" else []
        sizes = [sum(setting.first.group_sizes), *setting.first.group_sizes]
        names = [group + ("" if size else "\n(none)") for group, size in zip(GROUPS, sizes, strict=True)]
        axes.set_xticks(range(len(GROUPS)), names)
        axes.set(ylabel=label, xlim=(-0.5, len(GROUPS) - 0.5))
        axes.tick_params(axis="x", length=0)
        axes.grid(visible=False, axis="x")
        for edge in np.arange(0.5, len(GROUPS) - 1):
            axes.axvline(edge, color="0.9", linewidth=0.5, zorder=0)
    legend_below(figure, handles, [one.label for one in setting.series])
    set_subtitle(figure, setting.subtitle)
    caption = "Error bars: std over runs. Effective rank depends on the number of images: compare methods, not groups."
    details = f"{setting.first.protocol}; {setting.first.n_test} test images. {captions.groups(setting.first)}"
    yield Plot("geometry", "Geometry by group", figure, caption, details)
