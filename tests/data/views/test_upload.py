"""One upload of nested tensors."""

from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import pytest
import torch
from torch import Tensor

from data.views import upload as module
from data.views.upload import upload
from tests.fake_cuda import fake_cuda


@dataclass(frozen=True)
class Parts:
    first: Tensor
    number: int
    more: tuple[Any, ...]


TYPES = [torch.uint8, torch.bool, torch.int64, torch.float32, torch.float64, torch.int32]
CONTENTS = {
    "tensor": torch.arange(3),
    "scalar": torch.tensor(2.5),
    "types": [torch.arange(5).to(dtype) for dtype in TYPES],
    "empty": (torch.empty(0, 3), torch.arange(3.0), torch.empty(0, dtype=torch.int64)),
    "views": (torch.arange(6.0).view(2, 3).T, torch.ones(1).expand(4, 2), torch.arange(9)[::2]),
    "nested": Parts(torch.eye(3), 3, ([torch.ones(2)], None, "text", slice(1, 2), Parts(torch.zeros(1), 0, ()))),
    "nothing": (1, None),
}


def _flat(content: Any) -> list[Any]:
    if isinstance(content, Parts):
        content = (content.first, content.number, content.more)
    return [x for part in content for x in _flat(part)] if isinstance(content, tuple | list) else [content]


def _by_the_cpu(content: Any) -> Any:
    """`upload` with an unpinned buffer and the CPU as the device."""
    empty = torch.empty
    with (
        patch.object(module.torch, "empty", lambda size, dtype, pin_memory: empty(size, dtype=dtype)),
        patch.object(Tensor, "to", lambda x, device, non_blocking: x.clone()),
    ):
        return upload(content, torch.device("cuda"))


@pytest.mark.parametrize("name", CONTENTS)
def test_values_and_structure_are_kept(name):
    content = CONTENTS[name]
    moved = _by_the_cpu(content)
    assert type(moved) is type(content)
    for x, y in zip(_flat(content), _flat(moved), strict=True):
        if isinstance(x, Tensor):
            assert (x.shape, x.dtype) == (y.shape, y.dtype)
            assert torch.equal(x, y)
            assert y.is_contiguous()
        else:
            assert x == y


@pytest.mark.parametrize("name", CONTENTS)
def test_all_tensors_are_one_pinned_upload(name):
    with fake_cuda() as device:
        moved = upload(CONTENTS[name], torch.device("cuda"))
        assert {x.device.type for x in _flat(moved) if isinstance(x, Tensor)} <= {"cuda"}
        again = upload(moved, torch.device("cuda"))
        assert all(x is y for x, y in zip(_flat(moved), _flat(again), strict=True) if isinstance(x, Tensor))
    assert [pinned for _, pinned in device.uploads] == [True] * (name != "nothing")


def test_nothing_happens_on_the_cpu():
    for content in CONTENTS.values():
        assert upload(content, torch.device("cpu")) is content
