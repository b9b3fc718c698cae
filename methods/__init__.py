"""SSL methods: base class and registry, losses, heads and other building blocks, and one file per method."""

from methods.base import METHODS, Method, Output, RunScale, register

__all__ = ["METHODS", "Method", "Output", "RunScale", "register"]
