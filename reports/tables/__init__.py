"""Tables of records as CSV, LaTeX, Markdown and terminal text."""

from reports.tables.accuracy import AccuracyTable, build_tables
from reports.tables.summary import summary_tables
from reports.tables.text import terminal_text
from reports.tables.write import all_tables, records_csv, tables_text, write_tables

__all__ = [
    "AccuracyTable",
    "all_tables",
    "build_tables",
    "records_csv",
    "summary_tables",
    "tables_text",
    "terminal_text",
    "write_tables",
]
