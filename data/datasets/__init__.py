"""The benchmarks, one file each, and what those of one kind share."""
