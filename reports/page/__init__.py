"""One HTML file that shows tables, figures and runs, and needs nothing beside it: no server, no network.

An adapter makes the plain objects of `content` from tables, figures and run folders; `write_page` does the rest.
"""

from reports.page.content import About, Cell, Column, Figure, Log, Row, Run, Section
from reports.page.render import render_page, write_page

__all__ = ["About", "Cell", "Column", "Figure", "Log", "Row", "Run", "Section", "render_page", "write_page"]
