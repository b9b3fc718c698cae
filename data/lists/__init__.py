"""Index lists: constructions from labels, and index files."""
