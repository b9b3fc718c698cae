"""Compilation of a method's networks by torch.compile.

Only `Method.encode` is compiled: the networks over views, forward and backward, one graph in every method of this suite.
The objective is not: it works on embeddings, and reads and writes per-image memory.
"""

import os
import shutil

import torch

from core.errors import UserError
from methods import Method


def check_compilable(method: type[Method], count: int) -> None:
    """Raises UserError, with the reason, if the networks of a method cannot be compiled here, for `count` processes."""
    if method.loss is not Method.loss:
        raise UserError(f"--compile: {method.name} overrides `loss`, of which no part is compiled; omit the option")
    if count > 1:
        raise UserError("--compile: batch norms of several processes communicate, which is not compiled; omit the option")
    compiler = os.environ.get("CXX", "g++")
    if shutil.which(compiler) is None:
        raise UserError(f"--compile needs the C++ compiler {compiler}, which is not installed; install it or omit the option")


def compile_networks(method: Method) -> None:
    """Compiles `encode`. Results change by rounding only."""
    method.encode = torch.compile(method.encode)  # type: ignore[method-assign]
