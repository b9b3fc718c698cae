"""Benchmarks, one file each, and their base classes."""
