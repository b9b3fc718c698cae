"""Tables of records: what may be compared, what is significant, what it cost; as CSV, LaTeX, Markdown and text."""

from reports.tables.accuracy import Table
from reports.tables.formats import terminal_text
from reports.tables.write import all_sheets, build_tables, findings_csv, tables_text, write_tables

__all__ = ["Table", "all_sheets", "build_tables", "findings_csv", "tables_text", "terminal_text", "write_tables"]
