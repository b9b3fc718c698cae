"""Several processes train exactly as one."""

import pytest
import torch

from methods import METHODS
from tests.parallel.runs_in_float64 import by_processes, train_all


@pytest.fixture(scope="module")
def alone(photographs):
    return train_all(photographs)


@pytest.fixture(scope="module", params=[2, 3])
def together(request, photographs, tmp_path_factory):
    return by_processes(request.param, tmp_path_factory.mktemp("processes"), train_all, photographs)


@pytest.mark.parametrize("name", METHODS.names())
def test_state_is_that_of_one_process(name, alone, together):
    for states in together:
        assert states[name].keys() == alone[name].keys()
        for key, value in alone[name].items():
            difference = (states[name][key].double() - value.double()).abs().max().item()
            assert difference < 1e-10, (key, difference)
