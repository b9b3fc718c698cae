"""Mean ranks of methods with the critical difference."""

from collections.abc import Iterator

from reports.comparable import Title
from reports.figures.setting import Plot, Setting
from reports.figures.style import DOUBLE, drawable, new_figure, set_subtitle
from reports.tables.accuracy import METRICS
from reports.tables.ranks import RANKED, Ranks, ranks
from reports.tables.significance import LEVEL
from run_store.records import AccuracyRecord


def rank_diagrams(setting: Setting[AccuracyRecord], title: Title) -> Iterator[Plot]:
    """One diagram for each metric with enough methods and runs."""
    for metric in RANKED:
        found = ranks(setting.records, metric, title)
        if found is None:
            continue
        figure, (axes,) = new_figure(width=DOUBLE, height=0.9 + 0.16 * len(found.methods))
        places = range(len(found.methods))
        axes.plot(found.mean_ranks, places, "o", color="black", zorder=3)
        for start, end in equal_groups(found):
            axes.plot(found.mean_ranks[[start, end]], [start, start], color="0.6", linewidth=3, alpha=0.6, zorder=2)
        axes.set_yticks(places, [drawable(method) for method in found.methods])
        axes.set(xlabel=f"mean rank by {METRICS[metric]} (1: best)", xlim=(0.8, len(found.methods) + 0.2))
        axes.invert_yaxis()
        axes.hlines(-0.8, 1, 1 + found.critical_difference, color="black", linewidth=1)
        axes.annotate(
            "critical difference", (1 + found.critical_difference, -0.8), (3, 0), "data", "offset points", va="center"
        )
        set_subtitle(figure, setting.subtitle)
        caption = (
            f"n = {found.blocks} splits (with one split, seeds). Grey bars: methods that do not differ significantly "
            f"(Nemenyi, {LEVEL:.0%}). {found.friedman}"
        )
        yield Plot(f"ranks-{METRICS[metric].lower()}", f"Mean ranks, {METRICS[metric]}", figure, caption, "Demšar, JMLR 2006.")


def equal_groups(found: Ranks) -> list[tuple[int, int]]:
    """First and last place of each maximal group of methods within the critical difference."""
    groups: list[tuple[int, int]] = []
    for start, rank in enumerate(found.mean_ranks):
        end = max(place for place, other in enumerate(found.mean_ranks) if other - rank <= found.critical_difference)
        if end > start and not (groups and groups[-1][1] >= end):
            groups.append((start, end))
    return groups
