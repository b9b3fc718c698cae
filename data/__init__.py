"""Benchmarks, index lists, OOD pools, downloads, augmentation specs and backends, and the data loader."""
