"""Checks of a run before it starts."""

from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from core.errors import UserError
from grid.options import GridOptions
from grid.plan import _check_network, make_plan
from training.config import resolve
from training.device import has_bf16


def _check(method: str) -> None:
    config = resolve(
        method=method, dataset="cifar10lt", preset="paper", precision="fp32", recipe_changes={"backbone": "vgg11_bn"}
    )
    _check_network(config, torch.device("cpu"))


def test_failed_runs_are_tried_last(tmp_path, monkeypatch):
    options = GridOptions(
        methods=["simclr"], datasets=["digitslt"], preset="smoke", seeds=[0, 1, 2, 3], device="cpu", out=tmp_path
    )
    plan = make_plan(options)
    monkeypatch.setattr("grid.plan.Plan.states", ["FAILED", "NEW", "DONE", "RESUMABLE"])
    assert plan.unfinished == [1, 3, 0]


def test_the_home_directory_in_out_is_expanded(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert GridOptions(out=Path("~/runs")).out == Path("/home/me/runs")


def test_bfloat16_is_that_of_the_device_not_of_the_current_one(monkeypatch):
    current = [0]

    @contextmanager
    def use(device):
        current.append(device.index)
        yield
        current.pop()

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device", use)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: current[-1] == 1)
    assert has_bf16(torch.device("cuda", 1))
    assert not has_bf16(torch.device("cuda", 0))


def test_a_backbone_must_support_the_small_crops_of_the_method():
    _check("simclr")  # views of 32 px alone
    with pytest.raises(UserError, match="backbone 'vgg11_bn' does not support images of 18 px"):
        _check("swav")
