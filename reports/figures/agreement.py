"""How far probes agree on the order of the methods: Kendall's tau of every two, as a heat map."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from reports.comparable import SETTING, Title, apart_by, comparable
from reports.figures.setting import Setting, Sketch
from reports.figures.style import DOUBLE, SINGLE, plain, sized, small_print
from reports.tables.analysis import agreement_of
from reports.tables.formats import Table
from run_store.records import AccuracyRecord

DARK = 0.55  # from this size of tau on, numbers are white
METRICS = {"all": "all classes", "few": "few classes"}  # by what the tables' names begin with


def rank_agreements(setting: Setting[AccuracyRecord], records: Sequence[AccuracyRecord], title: Title) -> Iterator[Sketch]:
    """A figure a metric that the tables have a matrix of; `records` are those of all probes, of any setting."""
    runs = {found.run_id for one in setting.series for found in one.found}
    for key, members in comparable((record for record in records if record.run_id in runs), SETTING):
        for table in agreement_of(key, members, title):
            metric = table.name.split("-")[1]
            of = METRICS.get(metric, metric)
            figure = heat_map(_matrix(table))
            small_print(figure, f"{setting.line} · {of}")
            about = (
                f"Kendall's tau-b between the orders in which two probes put the methods by accuracy of {of}, on the runs that "
                "both have of all methods compared: 1 is the same order, -1 the reverse; a dash: not defined. Of at most "
                f"{len(setting.series)} methods."
            )
            kind = "-".join(part for part in ("agreement", metric, apart_by(key) if key != setting.key else "") if part)
            yield Sketch(kind, f"Do probes agree on {of}?", figure, about)


def heat_map(matrix: pd.DataFrame) -> Figure:
    """Draws a square matrix of taus whose index and columns are the probes, NaN where one is not defined.

    Args:
        matrix: (P, P) in [-1, 1].

    Raises:
        ValueError: it is not square, is empty, or holds what is no tau.
    """
    values = matrix.to_numpy(dtype=np.float64)
    if not len(values) or values.shape[0] != values.shape[1] or list(matrix.index) != list(matrix.columns):
        raise ValueError("a matrix of agreement has the same probes in rows and columns")
    if (np.abs(values[~np.isnan(values)]) > 1 + 1e-9).any():
        raise ValueError("Kendall's tau lies between -1 and 1")
    count = len(values)
    names = [plain(str(name)) for name in matrix.columns]
    side = 1.2 + 0.36 * count
    figure, (axes,) = sized(width=min(DOUBLE, max(SINGLE, side + 0.07 * max(map(len, names)))), height=side)
    image = axes.imshow(np.ma.masked_invalid(values), cmap="PuOr", vmin=-1, vmax=1)
    axes.set_facecolor("0.94")
    for (i, j), value in np.ndenumerate(values):
        text = "–" if np.isnan(value) else f"{value + 0.0:.2f}".replace("-", "−")
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
    """The numbers of a table whose rows are named by its first column; columns that are no rows are left out."""
    rows = {str(row[0].value): row for row in table.rows}
    places = {column.key: place for place, column in enumerate(table.columns) if column.key in rows}
    return pd.DataFrame(
        [[np.nan if row[place].value is None else row[place].value for place in places.values()] for row in rows.values()],
        index=list(rows),
        columns=list(places),
    )
