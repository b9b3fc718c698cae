"""Style of all figures: sizes, colour-blind-safe colours and markers, reproducible files."""

import logging
import textwrap
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullFormatter, NullLocator

from core.files import write_atomic

logging.getLogger("fontTools").setLevel(logging.WARNING)  # it logs every glyph of a PDF

SUFFIXES = ("svg", "png", "pdf")  # of the files of a figure
SINGLE, DOUBLE = 3.4, 7.0  # inches: one column and two columns of a paper
FONT_SIZE = 7.0  # points
DPI = 200  # of the PNG and of rasterized parts of the SVG
LEGEND_HANDLE = 8  # width of a legend handle in characters
GREY = "0.55"
# Okabe & Ito, "Color Universal Design" (2008), without yellow, which is too light for lines, and two further ones
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#E69F00", "#56B4E9", "#7A3E9D", "#8C6D31", "#999999")
LINES: tuple[Any, ...] = ("-", (0, (4, 1.2)), (0, (1, 1)), (0, (5, 1, 1, 1)), (0, (7, 1.5)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "h", "p")
HATCHES = ("", "////", "\\\\\\\\", "xxxx", "----", "||||", "++++", "//", "--", "xx", "||")  # no dots, which make large files
GROUP_COLOURS = {"many": "#0072B2", "medium": "#8C8C8C", "few": "#D55E00"}
GROUP_LINES = {"many": LINES[0], "medium": LINES[1], "few": LINES[2]}
GROUP_MARKERS = {"many": "o", "medium": "s", "few": "^"}
RC: Any = {
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.facecolor": "none",  # the page inverts figures in its dark theme, a white background would be a grey rectangle
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": FONT_SIZE,
    "axes.labelsize": FONT_SIZE,
    "figure.constrained_layout.use": True,
    "figure.facecolor": "none",
    "font.family": "DejaVu Sans",  # part of matplotlib: equal on every machine
    "font.size": FONT_SIZE,
    "grid.color": "0.9",
    "grid.linewidth": 0.5,
    "hatch.linewidth": 0.4,
    "legend.fontsize": FONT_SIZE - 0.5,
    "legend.frameon": False,
    "lines.linewidth": 1.2,
    "pdf.fonttype": 42,  # TrueType, which publishers require
    "lines.markersize": 3.2,
    "svg.hashsalt": "figures",
    "text.parse_math": False,  # titles may contain `$`
    "xtick.labelsize": FONT_SIZE - 0.5,
    "ytick.labelsize": FONT_SIZE - 0.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
}


@contextmanager
def figure_style() -> Iterator[None]:
    """Context for plotting and saving: matplotlib's defaults with RC, independent of the user's settings."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(RC)
        yield


def line_style(index: int) -> dict[str, Any]:
    """Colour, line style and marker of method number `index`; the first 110 differ in colour or marker."""
    return {
        "color": COLOURS[index % len(COLOURS)],
        "linestyle": LINES[(index + index // len(COLOURS)) % len(LINES)],
        "marker": MARKERS[index % len(MARKERS)],
    }


def bar_style(index: int) -> dict[str, Any]:
    """Colour, edge and hatch of the bars of method number `index`."""
    colour = COLOURS[index % len(COLOURS)]
    edge = "0.75" if colour == "#000000" else "black"
    return {"facecolor": colour, "edgecolor": edge, "hatch": HATCHES[index % len(HATCHES)], "linewidth": 0.4}


def new_figure(panels: int = 1, rows: int = 1, *, width: float | None = None, height: float = 2.2) -> tuple[Figure, list[Axes]]:
    """A figure of `rows` x `panels` axes, in row-major order.

    Args:
        panels: axes per row.
        rows: number of rows.
        width: inches; default: one column for a single panel, else two.
        height: inches per row.
    """
    figure = Figure(figsize=(width or (SINGLE if panels == 1 else DOUBLE), height * rows))
    return figure, list(figure.subplots(rows, panels, squeeze=False).flat)


def legend_below(figure: Figure, handles: Sequence[Any], labels: Sequence[str]) -> None:
    """One legend below all axes, in as many columns as fit; increases the figure's height."""
    letters = int(figure.get_figwidth() * 72 / (FONT_SIZE * 0.56))  # per line
    longest = max(24, letters // 2 - LEGEND_HANDLE) if letters > 80 else letters - LEGEND_HANDLE
    texts = ["\n".join(textwrap.wrap(drawable(label), longest)) or " " for label in labels]
    for columns in range(len(texts), 0, -1):
        rows = -(-len(texts) // columns)
        parts = np.array_split(texts, -(-len(texts) // rows))  # matplotlib fills legends by column
        if sum(LEGEND_HANDLE + max(map(_width, part)) for part in parts) <= letters:
            break
    lines = max(sum(text.count("\n") + 1 for text in part) for part in parts)
    figure.set_figheight(figure.get_figheight() + 0.14 * (lines + 1))
    shown = [
        f" {text}" if text.startswith("_") else text for text in texts
    ]  # matplotlib omits labels that start with an underscore
    figure.legend(list(handles), shown, loc="outside lower center", ncols=len(parts), handlelength=2.9, columnspacing=1.2)


def epoch_axis(axes: Axes) -> None:
    """Label and whole numbers as ticks, also for a single epoch."""
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def log_ticks(axis: Axis, at: Sequence[float] | None = None) -> None:
    """Plain numbers on a logarithmic axis, `k` for thousands; ticks at powers of ten or at the given values."""
    if at is not None:
        axis.set_major_locator(FixedLocator(sorted(set(at))))
        axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}" if value < 999.5 else f"{value / 1000:.3g}k"))
    axis.set_minor_formatter(NullFormatter())


def set_panel_title(axes: Axes, label: str, width: float) -> None:
    """Title of a panel, wrapped to `width` inches."""
    letters = max(16, int(width * 72 / (FONT_SIZE * 0.6)) - 5)
    axes.set_title("\n".join(textwrap.wrap(drawable(label), letters)))


def set_subtitle(figure: Figure, text: str) -> None:
    """A grey line above all axes that identifies the figure without its caption."""
    letters = int(figure.get_figwidth() * 72 / (FONT_SIZE * 0.5))
    figure.suptitle("\n".join(textwrap.wrap(drawable(text), letters)), fontsize=FONT_SIZE - 1, color="0.4")


def drawable(text: str) -> str:
    """`text` in one line; characters missing from the font become `?`."""
    spaced = "".join(" " if unicodedata.category(letter).startswith(("C", "Z")) else letter for letter in text)
    return " ".join("".join(letter if ord(letter) in _letters() else "?" for letter in spaced).split())


def save_figure(figure: Figure, folder: Path, name: str) -> tuple[Path, Path]:
    """Writes SVG, PNG and PDF without date and software name, and returns the paths of the first two.

    Files whose SVG would be the same as on disk are kept: PNG and PDF take most of the time. The SVG is written last, so that
    it belongs to the other two files after a crash as well.

    Raises UserError if the disk is full.
    """
    svg, png, pdf = (folder / f"{name}.{suffix}" for suffix in SUFFIXES)
    figure.set_dpi(DPI)
    # the layout takes most of the time; `savefig` would compute it twice per file
    if (engine := figure.get_layout_engine()) is not None:
        engine.execute(figure)
    figure.set_layout_engine("none")
    drawn = BytesIO()
    FigureCanvasSVG(figure).print_svg(drawn, metadata={"Date": None, "Creator": None})
    if png.is_file() and pdf.is_file() and svg.is_file() and svg.read_bytes() == drawn.getvalue():
        return svg, png
    svg.unlink(missing_ok=True)
    figure.set_dpi(DPI)  # `print_svg` has changed it
    fast: dict[str, Any] = {
        "metadata": {"Software": None},
        "pil_kwargs": {"compress_level": 1},
    }  # higher levels are much slower
    write_atomic(png, partial(FigureCanvasAgg(figure).print_png, **fast))
    without: dict[str, Any] = {"CreationDate": None, "Creator": None, "Producer": None}
    write_atomic(pdf, partial(FigureCanvasPdf(figure).print_pdf, metadata=without))
    write_atomic(svg, lambda file: file.write(drawn.getvalue()))
    return svg, png


def _width(text: str) -> int:
    """Characters of the longest line."""
    return max(map(len, text.splitlines()))


@cache
def _letters() -> frozenset[int]:
    """Code points of the font in RC."""
    return frozenset(font_manager.get_font(font_manager.findfont("DejaVu Sans")).get_charmap())
