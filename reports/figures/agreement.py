"""Agreement of probes on the ranking of methods: a heat map of Kendall's tau."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from reports.comparable import SETTING, Title, comparable_groups, split_passport
from reports.figures.setting import Plot, Setting
from reports.figures.style import DOUBLE, SINGLE, drawable, new_figure, set_subtitle
from reports.tables.analysis import setting_agreement
from reports.tables.table import Table, fixed
from run_store.records import AccuracyRecord

DARK = 0.55  # |tau| above which numbers are white
METRICS = {"all": "all classes", "few": "few classes"}  # by the metric in the table's name


def rank_agreements(setting: Setting[AccuracyRecord], records: Sequence[AccuracyRecord], title: Title) -> Iterator[Plot]:
    """One heat map per metric.

    Args:
        setting: the runs.
        records: of all probes and any runs; those of other runs are ignored.
        title: printed name of a record's method.
    """
    runs = {found.run_id for one in setting.series for found in one.records}
    for key, members in comparable_groups((record for record in records if record.run_id in runs), SETTING):
        for table in setting_agreement(key, members, title):
            metric = table.name.split("-")[1]
            classes = METRICS.get(metric, metric)
            figure = heat_map(_matrix(table))
            set_subtitle(figure, f"{setting.subtitle} · {classes}")
            caption = f"Kendall's tau-b between the probes' method rankings by accuracy of {classes}; dash: undefined."
            details = (
                "1: same order, −1: reversed. Rankings are on the runs that both probes have of all compared methods, at most "
                f"{len(setting.series)}."
            )
            kind = "-".join(part for part in ("agreement", metric, split_passport(key) if key != setting.key else "") if part)
            yield Plot(kind, f"Agreement of probes, {classes}", figure, caption, details)


def heat_map(matrix: pd.DataFrame) -> Figure:
    """Heat map of a matrix of taus whose index and columns are the probes, NaN where tau is undefined.

    Args:
        matrix: (P, P) in [-1, 1].

    Raises:
        ValueError: the matrix is empty, not square, or has values outside [-1, 1].
    """
    values = matrix.to_numpy(dtype=np.float64)
    if not len(values) or values.shape[0] != values.shape[1] or list(matrix.index) != list(matrix.columns):
        raise ValueError("an agreement matrix has the same probes in rows and columns")
    if (np.abs(values[~np.isnan(values)]) > 1 + 1e-9).any():
        raise ValueError("Kendall's tau is between -1 and 1")
    count = len(values)
    names = [drawable(str(name)) for name in matrix.columns]
    side = 1.2 + 0.36 * count
    figure, (axes,) = new_figure(width=min(DOUBLE, max(SINGLE, side + 0.07 * max(map(len, names)))), height=side)
    image = axes.imshow(np.ma.masked_invalid(values), cmap="PuOr", vmin=-1, vmax=1)
    axes.set_facecolor("0.94")
    for (i, j), value in np.ndenumerate(values):
        text = "–" if np.isnan(value) else fixed(value, 2)
        axes.text(j, i, text, ha="center", va="center", color="white" if abs(value) > DARK else "black", fontsize=6.5)
    axes.set_xticks(range(count), names, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(count), names)
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=axes, shrink=0.8, aspect=25, pad=0.02, ticks=[-1, -0.5, 0, 0.5, 1])
    bar.set_label("Kendall's τ")
    bar.outline.set_linewidth(0.5)
    return figure


def _matrix(table: Table) -> pd.DataFrame:
    """The numeric columns of a table, indexed by its first column; columns without a row of the same name are left out."""
    rows = {str(row[0].value): row for row in table.rows}
    places = {column.key: place for place, column in enumerate(table.columns) if column.key in rows}
    return pd.DataFrame(
        [[np.nan if row[place].value is None else row[place].value for place in places.values()] for row in rows.values()],
        index=list(rows),
        columns=list(places),
    )
