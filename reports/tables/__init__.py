"""Tables of records: what may be compared, what is significant, what it cost; as CSV, LaTeX, Markdown and text."""

from reports.tables.accuracy import AccuracyTable
from reports.tables.formats import terminal_text
from reports.tables.write import all_tables, build_tables, records_csv, tables_text, write_tables

__all__ = ["AccuracyTable", "all_tables", "build_tables", "records_csv", "tables_text", "terminal_text", "write_tables"]
