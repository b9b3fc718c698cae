"""Selection of the augmentation backend."""

import pytest
import torch

from core.errors import UserError
from data.views.backend import BACKENDS, choose_backend


def test_which_backend_is_taken(monkeypatch):
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    monkeypatch.setattr(BACKENDS["dali"], "missing_dependency", lambda device: None)
    monkeypatch.setattr(BACKENDS["kornia"], "missing_dependency", lambda device: "pip install kornia")
    for in_files, device, wanted in ((False, gpu, "torch"), (True, cpu, "torchvision"), (True, gpu, "dali")):
        assert choose_backend("auto", in_files=in_files, device=device)[0] == wanted
    assert choose_backend("torchvision", in_files=False, device=gpu)[0] == "torchvision"
    for in_files, wanted in ((False, "torch"), (True, "torchvision")):
        assert choose_backend("torch+torchvision", in_files=in_files, device=gpu)[0] == wanted
        assert choose_backend("auto+auto", in_files=in_files, device=cpu)[0] == wanted
    assert choose_backend("torch+dali", in_files=True, device=cpu)[0] == "dali"
    for wrong in ("kornia", "kornja", "kornia+torch", "+kornja"):
        with pytest.raises(UserError, match="kornia"):
            choose_backend(wrong, in_files=wrong.startswith("+"), device=cpu)
