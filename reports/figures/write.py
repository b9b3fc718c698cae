"""Draws all figures that records and logs give, and writes them as SVG and PNG."""

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from core.errors import UserError
from core.files import writable_folder
from reports.comparable import Title, method_name
from reports.figures.accuracy import class_accuracy, group_accuracy
from reports.figures.agreement import rank_agreements
from reports.figures.curves import fewshot_curve, imbalance_curve, imbalance_settings
from reports.figures.geometry import group_geometry
from reports.figures.maps import feature_maps
from reports.figures.sampling import sampled_clusters
from reports.figures.setting import Order, Setting, Sketch, probe_settings, run_settings
from reports.figures.style import house_style, save
from reports.figures.temperature import by_class_size, by_epoch
from reports.figures.training import tail_curves, training_curves
from reports.tables.formats import plain
from run_store.history import History
from run_store.records import Record, accuracies, geometries

log = logging.getLogger(__name__)

Draw = Callable[[], Iterator[Sketch]]


@dataclass(frozen=True)
class Drawn:
    """One figure on disk."""

    name: str  # of its files, without suffix
    title: str  # what it shows, in a few words
    caption: str  # plain text
    svg: Path
    png: Path
    dataset: str
    profile: str  # empty for a figure over several
    probe: str  # empty for a figure that is of none, or of several
    preset: str


def write_figures(
    records: Iterable[Record], histories: Iterable[History], folder: Path, title: Title = method_name
) -> list[Drawn]:
    """Writes every figure whose data is there, as SVG and PNG; one that fails is told of in a line and left out.

    Args:
        records: records of any runs.
        histories: logs of any runs; those of runs without records are not drawn.
        folder: is made where it is not there.
        title: how the method of a record is printed.

    Raises:
        UserError: the folder cannot be written, or the disk is full.
    """
    folder = writable_folder(folder, "--out")
    plan = _plan(list(records), {history.run_id: history for history in histories}, title)
    with house_style():
        return [drawn for setting, draw in plan for drawn in _written(setting, draw, folder)]


def _plan(records: list[Record], histories: dict[str, History], title: Title) -> Iterator[tuple[Setting, Draw]]:
    """All figures that there might be, with their settings: those of runs first, then probe by probe."""
    order, accuracy_records = Order(records, title), accuracies(records)
    for runs in run_settings(records, order):
        for draw in (training_curves, tail_curves, sampled_clusters, by_epoch, by_class_size, feature_maps):
            yield runs, partial(draw, runs, histories)
    for runs_probed in run_settings(accuracy_records, order):
        yield runs_probed, partial(rank_agreements, runs_probed, accuracy_records, title)
    for probed in probe_settings(accuracy_records, order):
        for draw_probed in (group_accuracy, class_accuracy, fewshot_curve):
            yield probed, partial(draw_probed, probed)
    for shape in probe_settings(geometries(records), order):
        yield shape, partial(group_geometry, shape)
    for across in imbalance_settings(accuracy_records, order):
        yield across, partial(imbalance_curve, across)


def _written(setting: Setting, draw: Draw, folder: Path) -> Iterator[Drawn]:
    """The figures of one kind and setting."""
    try:
        for sketch in draw():
            name, first = setting.file_name(sketch.kind), setting.first
            svg, png = save(sketch.figure, folder, name)
            caption = plain(f"{sketch.about} {setting.caption}")
            yield Drawn(name, sketch.title, caption, svg, png, first.dataset, setting.profile, setting.probe, first.preset)
    except UserError:
        raise
    except Exception as error:  # a figure that cannot be drawn must not cost the report
        what = getattr(draw, "func", draw)
        log.warning(
            "no figure of %s for %s: %s", getattr(what, "__name__", what), setting.line, plain(f"{error}") or type(error)
        )
