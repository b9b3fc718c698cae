"""All figures of records and training logs, written as SVG, PNG and PDF."""

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from core.errors import UserError
from core.files import remove_unfinished, writable_folder, write_json
from core.schema import read_json
from reports import captions
from reports.comparable import ClassNames, Title, method_name, no_class_names, safe_name
from reports.figures.accuracy import class_accuracy, group_accuracy
from reports.figures.agreement import rank_agreements
from reports.figures.curves import fewshot_curve, imbalance_curve, imbalance_settings
from reports.figures.geometry import group_geometry
from reports.figures.maps import feature_maps
from reports.figures.ranks import rank_diagrams
from reports.figures.sampling import sampled_clusters
from reports.figures.setting import MethodOrder, Plot, Setting, probe_settings, run_settings
from reports.figures.style import SUFFIXES, figure_style, save_figure
from reports.figures.temperature import quantity_by_class_size, quantity_by_epoch
from reports.figures.training import tail_curves, training_curves
from reports.tables.table import single_line
from run_store.history import History
from run_store.records import Record, accuracies, geometries

log = logging.getLogger(__name__)

INDEX = "index.json"
Draw = Callable[[], Iterator[Plot]]


@dataclass(frozen=True)
class SavedFigure:
    """A figure on disk, with its caption."""

    name: str  # file name without suffix
    title: str
    caption: str  # what is plotted, n, splits, seeds and scale
    scale: str  # sentence of the caption; empty at the papers' scale
    details: str  # definitions, data, training
    svg: Path
    png: Path
    dataset: str
    variant: str  # empty for a figure over several
    probe: str  # empty for a figure without a probe or over several
    preset: str
    epochs: int | None  # of the training; None if unknown


def write_figures(
    records: Iterable[Record],
    histories: Iterable[History],
    folder: Path,
    title: Title = method_name,
    class_names: ClassNames = no_class_names,
) -> list[SavedFigure]:
    """Writes every figure that has data, as SVG, PNG and PDF; a figure that fails is logged as a warning and left out.

    Figures of earlier reports, which `index.json` names, are removed.

    Args:
        records: of any runs.
        histories: training logs; those of runs without records are not plotted.
        folder: output folder, created if needed.
        title: printed name of a record's method.
        class_names: names of a record's classes.

    Raises:
        UserError: the folder cannot be written, or the disk is full.
    """
    remove_unfinished(writable_folder(folder, "--out"))
    earlier = _read_index(folder)
    plan = _plan(list(records), {history.run_id: history for history in histories}, title, class_names)
    with figure_style():
        written = [saved for setting, draw in plan for saved in _save_all(setting, draw, folder)]
    names = {saved.name for saved in written}
    for name in earlier - names:
        for suffix in SUFFIXES:
            (folder / f"{name}.{suffix}").unlink(missing_ok=True)
    if names != earlier:
        write_json(folder / INDEX, sorted(names))
    return written


def _read_index(folder: Path) -> set[str]:
    """Names of the figures of earlier reports; empty if there are none, or the file is damaged."""
    try:
        names = read_json(folder / INDEX, list[str], "")
    except UserError:
        return set()
    return {name for name in names if safe_name(name) == name}


def _plan(
    records: list[Record], histories: dict[str, History], title: Title, class_names: ClassNames
) -> Iterator[tuple[Setting, Draw]]:
    """Every setting with the functions that plot it: training runs first, then probes."""
    order, accuracy_records = MethodOrder(records, title), accuracies(records)
    for setting in run_settings(records, order):
        for draw in (training_curves, tail_curves, sampled_clusters, quantity_by_epoch, quantity_by_class_size):
            yield setting, partial(draw, setting, histories)
        yield setting, partial(feature_maps, setting, histories, class_names)
    for run_setting in run_settings(accuracy_records, order):
        yield run_setting, partial(rank_agreements, run_setting, accuracy_records, title)
    for probe_setting in probe_settings(accuracy_records, order):
        yield probe_setting, partial(group_accuracy, probe_setting)
        yield probe_setting, partial(class_accuracy, probe_setting, class_names)
        yield probe_setting, partial(fewshot_curve, probe_setting)
        yield probe_setting, partial(rank_diagrams, probe_setting, title)
    for geometry_setting in probe_settings(geometries(records), order):
        yield geometry_setting, partial(group_geometry, geometry_setting)
    for ratio_setting in imbalance_settings(accuracy_records, order):
        yield ratio_setting, partial(imbalance_curve, ratio_setting)


def _save_all(setting: Setting, draw: Draw, folder: Path) -> Iterator[SavedFigure]:
    """Saves the figures of one function and setting."""
    try:
        for plot in draw():
            name, first = setting.file_name(plot.kind), setting.first
            svg, png = save_figure(plot.figure, folder, name)
            yield SavedFigure(
                name=name,
                title=plot.title,
                caption=single_line(f"{setting.caption} {plot.caption}"),
                scale=captions.scale(first),
                details=single_line(f"{plot.details} {setting.details}"),
                svg=svg,
                png=png,
                dataset=first.dataset,
                variant=setting.variant,
                probe=setting.probe,
                preset=first.preset,
                epochs=first.epochs,
            )
    except UserError:
        raise
    except Exception as error:  # one broken figure must not stop the report
        what = getattr(draw, "func", draw)
        log.warning(
            "figure %s of %s failed: %s",
            getattr(what, "__name__", what),
            setting.subtitle,
            single_line(f"{error}") or type(error),
        )
