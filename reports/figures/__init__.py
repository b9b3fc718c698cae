"""Figures of records and training logs, as SVG, PNG and PDF."""

from reports.figures.write import SavedFigure, write_figures

__all__ = ["SavedFigure", "write_figures"]
