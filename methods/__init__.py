"""What an SSL method is: the base class and its registry, losses and heads, and one file per method."""

from methods.base import METHODS, Method, Output, RunScale, register

__all__ = ["METHODS", "Method", "Output", "RunScale", "register"]
