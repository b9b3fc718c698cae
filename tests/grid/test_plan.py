"""Checks of a run before it starts."""

import pytest
import torch

from core.errors import UserError
from grid.plan import _check_network
from training.config import resolve


def _check(method: str) -> None:
    config = resolve(
        method=method, dataset="cifar10lt", preset="paper", precision="fp32", recipe_changes={"backbone": "vgg11_bn"}
    )
    _check_network(config, torch.device("cpu"))


def test_a_backbone_must_support_the_small_crops_of_the_method():
    _check("simclr")  # views of 32 px alone
    with pytest.raises(UserError, match="backbone 'vgg11_bn' does not support images of 18 px"):
        _check("swav")
