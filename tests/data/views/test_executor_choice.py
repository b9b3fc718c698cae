"""Which executor of views a run takes."""

import pytest
import torch

from core.errors import UserError
from data.views.executor import EXECUTORS, choose_executor


def test_which_executor_is_taken(monkeypatch):
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    monkeypatch.setattr(EXECUTORS["dali"], "missing", lambda device: None)
    monkeypatch.setattr(EXECUTORS["kornia"], "missing", lambda device: "pip install kornia")
    for in_files, device, wanted in ((False, gpu, "torch"), (True, cpu, "torchvision"), (True, gpu, "dali")):
        assert choose_executor("auto", in_files=in_files, device=device)[0] == wanted
    assert choose_executor("torchvision", in_files=False, device=gpu)[0] == "torchvision"
    for wrong in ("kornia", "kornja"):
        with pytest.raises(UserError, match="kornia"):
            choose_executor(wrong, in_files=False, device=cpu)
