"""What a method keeps outside of its state dict."""

import random
from collections import deque

import numpy as np
import pytest
import torch
from torch import nn

from training.state import unsaved_state


class _Held(nn.Module):
    def __init__(self, value):
        super().__init__()
        self.inner = nn.Module()
        self.inner.held = value


def _advance(value):
    """Changes `value` in place."""
    match value:
        case torch.Tensor():
            value += 1
        case torch.Generator():
            torch.rand((), generator=value)
        case np.random.Generator() | random.Random():
            value.random()
        case deque() | list():
            value.append(torch.zeros(2))
        case dict():
            value["n"] += 1


@pytest.mark.parametrize(
    "value",
    [
        torch.zeros(3),
        torch.zeros(2, dtype=torch.bfloat16),
        torch.Generator().manual_seed(0),
        np.random.default_rng(0),
        random.Random(0),
        [torch.zeros(2)],
        deque(maxlen=5),
        {"n": 0, "module": nn.Linear(1, 1)},
    ],
    ids=lambda value: type(value).__name__,
)
def test_content_of_an_attribute_changes_with_its_value_alone(value):
    held = _Held(value)
    (name,) = before = unsaved_state(held)
    assert name == f"inner.held ({type(value).__name__})"
    assert unsaved_state(held) == before
    _advance(value)
    assert unsaved_state(held)[name] != before[name] != b""


def test_attributes_of_every_module_and_what_cannot_be_pickled():
    held = _Held(lambda: None)
    held.register_buffer("kept", torch.zeros(1))
    held.inner.register_buffer("lost", torch.zeros(1), persistent=False)
    assert {name: bool(content) for name, content in unsaved_state(held).items()} == {
        "inner.lost (buffer with persistent=False)": True,
        "inner.held (function)": False,
    }
