"""A self-contained HTML page with tables, figures and runs.

`adapter` converts tables, figures and run folders to the classes of `content`; `write_page` renders them.
"""

from reports.page.content import About, Cell, Column, Figure, Log, Row, Run, Section
from reports.page.render import render_page, write_page

__all__ = ["About", "Cell", "Column", "Figure", "Log", "Row", "Run", "Section", "render_page", "write_page"]
