"""Figures of records and training logs, as SVG and PNG."""

from reports.figures.write import SavedFigure, write_figures

__all__ = ["SavedFigure", "write_figures"]
