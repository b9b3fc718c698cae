"""Figures of records and logs: a file for each family, one entry point, SVG and PNG."""

from reports.figures.write import Drawn, write_figures

__all__ = ["Drawn", "write_figures"]
