"""How every figure looks: sizes of print, colours told apart by the colour-blind and in grey, and the same bytes every time."""

import textwrap
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator

from core.files import write_atomic

SINGLE, DOUBLE = 3.4, 7.0  # inches: a column of two, and both
SIZE = 7.0  # points of all text but the small print
DPI = 200  # of the PNG, and of what is pixels in the SVG
HANDLE = 8  # letters that a legend's handle takes, with the room around it
FAINT = "0.55"
# Okabe & Ito, "Color Universal Design" (2008), but for the yellow, too light for lines; then two that differ in lightness
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#E69F00", "#56B4E9", "#7A3E9D", "#8C6D31", "#999999")
LINES: tuple[Any, ...] = ("-", (0, (4, 1.2)), (0, (1, 1)), (0, (5, 1, 1, 1)), (0, (7, 1.5)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "h", "p")
HATCHES = ("", "////", "\\\\\\\\", "xxxx", "----", "||||", "++++", "//", "--", "xx", "||")  # of lines: dots make large files
GROUP_COLOURS = {"many": "#0072B2", "medium": "#8C8C8C", "few": "#D55E00"}
GROUP_LINES = {"many": LINES[0], "medium": LINES[1], "few": LINES[2]}
GROUP_MARKERS = {"many": "o", "medium": "s", "few": "^"}
RC: Any = {
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": SIZE,
    "axes.labelsize": SIZE,
    "figure.constrained_layout.use": True,
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same on every machine
    "font.size": SIZE,
    "grid.color": "0.9",
    "grid.linewidth": 0.5,
    "hatch.linewidth": 0.4,
    "legend.fontsize": SIZE - 0.5,
    "legend.frameon": False,
    "lines.linewidth": 1.2,
    "lines.markersize": 3.2,
    "svg.hashsalt": "figures",
    "text.parse_math": False,  # a `$` in a method's title is a `$`
    "xtick.labelsize": SIZE - 0.5,
    "ytick.labelsize": SIZE - 0.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
}


@contextmanager
def house_style() -> Iterator[None]:
    """Context in which figures are drawn and saved; a user's own settings of matplotlib do not reach into it."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(RC)
        yield


def line_look(index: int) -> dict[str, Any]:
    """Colour, line and marker of the method at place `index`; no two of the first 110 share colour and marker."""
    return {
        "color": COLOURS[index % len(COLOURS)],
        "linestyle": LINES[(index + index // len(COLOURS)) % len(LINES)],
        "marker": MARKERS[index % len(MARKERS)],
    }


def bar_look(index: int) -> dict[str, Any]:
    """Colour, edge and hatch of a bar of the method at place `index`."""
    colour = COLOURS[index % len(COLOURS)]
    edge = "0.75" if colour == "#000000" else "black"
    return {"facecolor": colour, "edgecolor": edge, "hatch": HATCHES[index % len(HATCHES)], "linewidth": 0.4}


def sized(panels: int = 1, rows: int = 1, *, width: float | None = None, height: float = 2.2) -> tuple[Figure, list[Axes]]:
    """A figure of `rows` times `panels` axes, row by row: as wide as a column for one, else as both.

    Args:
        panels: axes beside each other.
        rows: of axes.
        width: inches, in place of the usual.
        height: inches of a row.
    """
    figure = Figure(figsize=(width or (SINGLE if panels == 1 else DOUBLE), height * rows))
    return figure, list(figure.subplots(rows, panels, squeeze=False).flat)


def legend_below(figure: Figure, handles: Sequence[Any], labels: Sequence[str]) -> None:
    """One legend for all axes, under them, in as many columns as fit; the figure grows by its height."""
    letters = int(figure.get_figwidth() * 72 / (SIZE * 0.56))  # that fit beside each other
    longest = max(24, letters // 2 - HANDLE) if letters > 80 else letters - HANDLE
    texts = ["\n".join(textwrap.wrap(plain(label), longest)) or " " for label in labels]
    for columns in range(len(texts), 0, -1):
        rows = -(-len(texts) // columns)
        parts = np.array_split(texts, -(-len(texts) // rows))  # column by column, as matplotlib fills them
        if sum(HANDLE + max(map(_width, part)) for part in parts) <= letters:
            break
    lines = max(sum(text.count("\n") + 1 for text in part) for part in parts)
    figure.set_figheight(figure.get_figheight() + 0.14 * (lines + 1))
    shown = [f" {text}" if text.startswith("_") else text for text in texts]  # else matplotlib would leave them out
    figure.legend(list(handles), shown, loc="outside lower center", ncols=len(parts), handlelength=2.9, columnspacing=1.2)


def count_ticks(axis: Axis, at: Sequence[float] | None = None) -> None:
    """A logarithmic axis whose ticks are written out, from a thousand on with a `k`: powers of ten, or `at` alone."""
    if at is not None:
        axis.set_major_locator(FixedLocator(sorted(set(at))))
        axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}" if value < 999.5 else f"{value / 1000:.3g}k"))
    axis.set_minor_formatter(NullFormatter())


def titled(axes: Axes, label: str, width: float) -> None:
    """A panel's title, wrapped to its width in inches."""
    letters = max(16, int(width * 72 / (SIZE * 0.6)) - 5)
    axes.set_title("\n".join(textwrap.wrap(plain(label), letters)))


def small_print(figure: Figure, text: str) -> None:
    """One grey line above all axes, so that a picture without its caption still says what it is of."""
    letters = int(figure.get_figwidth() * 72 / (SIZE * 0.5))
    figure.suptitle("\n".join(textwrap.wrap(plain(text), letters)), fontsize=SIZE - 1, color="0.4")


def plain(text: str) -> str:
    """The text in one line, with a `?` for each character that the font lacks."""
    spaced = "".join(" " if unicodedata.category(letter).startswith(("C", "Z")) else letter for letter in text)
    return " ".join("".join(letter if ord(letter) in _letters() else "?" for letter in spaced).split())


def save(figure: Figure, folder: Path, name: str) -> tuple[Path, Path]:
    """Writes the figure as SVG and PNG, without date or program, and returns their paths. Raises UserError for a full disk."""
    paths = folder / f"{name}.svg", folder / f"{name}.png"
    figure.set_dpi(DPI)
    # finding the place of everything takes most of the time: `savefig` would do it twice a file
    if (engine := figure.get_layout_engine()) is not None:
        engine.execute(figure)
    figure.set_layout_engine("none")
    png: dict[str, Any] = {"metadata": {"Software": None}, "pil_kwargs": {"compress_level": 1}}  # smaller files take far longer
    write_atomic(paths[1], partial(FigureCanvasAgg(figure).print_png, **png))
    write_atomic(paths[0], partial(FigureCanvasSVG(figure).print_svg, metadata={"Date": None, "Creator": None}))
    return paths


def _width(text: str) -> int:
    """Letters of the longest line."""
    return max(map(len, text.splitlines()))


@cache
def _letters() -> frozenset[int]:
    """Code points that the font of `RC` can draw."""
    return frozenset(font_manager.get_font(font_manager.findfont("DejaVu Sans")).get_charmap())
