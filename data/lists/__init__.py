"""Index lists: the protocols that make them from labels, and the files that hold them."""
