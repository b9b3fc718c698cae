"""Several processes train exactly as one."""

from functools import partial

import pytest
import torch

from commands.float64_training import by_processes, largest_difference
from methods import METHODS
from tests.parallel.runs_in_float64 import stopped, stopped_and_finished, train_each

slow_param = partial(pytest.param, marks=pytest.mark.slow)


@pytest.mark.parametrize(("processes", "group"), [(2, "all"), slow_param(2, "every"), slow_param(3, "every")])
def test_state_is_that_of_one_process(processes, group, photographs, tmp_path):
    names = METHODS.select([group])
    alone = train_each(photographs, names)
    for states in by_processes(processes, tmp_path, train_each, photographs, names):
        assert list(states) == names
        for name in names:
            assert states[name].keys() == alone[name].keys()
            difference, tensor = largest_difference(alone[name], states[name])
            assert difference < 1e-10, (name, tensor)


def test_nan_is_an_infinite_difference():
    ones = torch.ones(2)
    states = {"w": ones, "memory": torch.tensor([1.0, float("nan")]), "loss": ones}
    assert largest_difference(dict.fromkeys(states, ones), states) == (float("inf"), "memory")


def test_equal_infinite_values_and_empty_tensors_do_not_differ():
    first = {"bound": torch.tensor([float("inf"), 1.0]), "queue": torch.empty(0, 2)}
    assert largest_difference(first, first | {"bound": torch.tensor([float("inf"), 3.0])}) == (2.0, "bound")


@pytest.mark.parametrize(("first", "then"), [(2, 1), slow_param(1, 2), slow_param(3, 2)])
def test_a_run_is_resumed_by_another_number_of_processes(first, then, photographs, tmp_path):
    """Stopped after step 21 of an epoch of 22, with a checkpoint before."""
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    for folder in (whole, resumed, tmp_path / "first", tmp_path / "then"):
        folder.mkdir()
    expected = stopped_and_finished(photographs, whole, None)
    by_processes(first, tmp_path / "first", stopped, photographs, resumed, 21)
    progress = torch.load(resumed / "checkpoint.pt")["progress"]
    assert progress["epoch"] == 0
    assert 0 < progress["step"] <= 20  # one process saves often, while the last checkpoint is written
    for state in by_processes(then, tmp_path / "then", stopped_and_finished, photographs, resumed, None):
        for key, value in expected.items():
            torch.testing.assert_close(state[key], value, rtol=1e-9, atol=1e-9, msg=key)
