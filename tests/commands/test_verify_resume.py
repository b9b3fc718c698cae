"""`verify-resume`: passes methods that keep their state in buffers, and names what other methods lose."""

import re

import pytest
import torch

import bench
from commands.killed_training import Outcome
from commands.verify_resume import _random_pools, describe_difference
from methods import METHODS
from tests.users_suite import run_command, users_suite

USERS_FILE = """
import numpy as np
import torch

from methods.base import Output, register
from methods.simclr import SimCLR


class Scaled(SimCLR):
    def build(self, width):
        super().build(width)
        self.prepare()

    def loss(self, batch):
        output = super().loss(batch)
        return Output(output.loss * self.factor(output.loss.detach()), output.scores)


@register("in-buffer", title="x", paper="x", suite=False)
class InBuffer(Scaled):
    def prepare(self):
        self.register_buffer("mean", torch.ones(()))
        self.calls = 0

    def factor(self, loss):
        self.calls += 1
        return self.mean.lerp_(loss, 0.1).clone()


@register("plain-tensor", title="x", paper="x", suite=False)
class PlainTensor(Scaled):
    def prepare(self):
        self.mean = torch.ones(())

    def factor(self, loss):
        self.mean = self.mean.lerp(loss, 0.1)
        return self.mean


@register("own-generator", title="x", paper="x", suite=False)
class OwnGenerator(Scaled):
    def prepare(self):
        self.generator = torch.Generator().manual_seed(0)

    def factor(self, loss):
        return torch.rand((), generator=self.generator)


@register("counter", title="x", paper="x", suite=False)
class Counter(Scaled):
    def prepare(self):
        self.calls = 0

    def factor(self, loss):
        self.calls += 1
        return 1 / self.calls


@register("not-persistent", title="x", paper="x", suite=False)
class NotPersistent(Scaled):
    def prepare(self):
        self.register_buffer("mean", torch.ones(()), persistent=False)

    def factor(self, loss):
        return self.mean.lerp_(loss, 0.1).clone()


@register("unseeded", title="x", paper="x", suite=False)
class Unseeded(Scaled):
    def prepare(self):
        pass

    def factor(self, loss):
        return np.random.default_rng().random()


@register("broken", title="x", paper="x", suite=False)
class Broken(Scaled):
    def prepare(self):
        pass

    def factor(self, loss):
        raise ZeroDivisionError("no factor")
"""
LOST = {
    "plain-tensor": "training changes, but checkpoints do not store mean (Tensor); ",
    "own-generator": "training changes, but checkpoints do not store generator (Generator); ",
    "counter": "training changes, but checkpoints do not store calls (int); ",
    "not-persistent": "training changes, but checkpoints do not store mean (buffer with persistent=False); ",
    "unseeded": "two uninterrupted runs differ too; ",
}


@pytest.mark.slow
def test_a_users_methods(tmp_path):
    """What checkpoints do not store is named; state in a buffer passes; an error in the method is reported."""
    short = ("--epochs", "2", "--batch-size", "64")
    finished = run_command(users_suite(tmp_path, USERS_FILE), "verify-resume", *LOST, "in-buffer", "broken", *short)
    assert finished.returncode == 1
    *lines, stored, broken = finished.stdout.splitlines()
    for name, line, hint in zip(LOST, lines[::2], lines[1::2], strict=True):
        # a process that is killed at a checkpoint may have completed further steps while it was written
        message = r"does NOT resume bit-identically \(killed at steps \d, \d+, 7, \d+\): method\.backbone\."
        assert re.match(f"{name}: {message}", line)
        assert " differs by up to " in line
        assert hint.startswith(f"  {LOST[name]}")
    assert stored.startswith("in-buffer: resumes bit-identically (")
    assert stored.endswith("; training changes, but checkpoints do not store calls (int)")
    assert broken == "broken: training failed: ZeroDivisionError: no factor"
    assert "raise ZeroDivisionError" in finished.stderr  # the author's traceback


def test_a_method_of_the_suite_passes(capsys):
    assert bench.main(["verify-resume", "colt", "--epochs", "2"]) == 0
    assert capsys.readouterr().out.startswith("colt: resumes bit-identically (")


@pytest.mark.slow
def test_every_method_passes(capsys):
    assert bench.main(["verify-resume", "every"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == METHODS.names()
    assert not any("do not store" in line for line in lines)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["simcrl"], "no method matches 'simcrl'; did you mean 'simclr'?"),
        (["simclr", "--dataset", "digits"], "no dataset matches 'digits'; did you mean 'digitslt'?"),
        (["simclr", "--epochs", "1"], "--epochs 1: give at least 2"),
        (["simclr", "--batch-size", "1000"], "batch size 1000 is larger than digitslt's 335 images"),
        (["simclr", "--set", "simclr.temprature=1"], "did you mean 'temperature'?"),
        (["colt", "--set", "colt.budget=5000"], "samples 5,000 images, but its OOD pool has 500; lower colt.budget"),
        (["colt", "--set", "colt.pool=folder:nowhere"], "the pool nowhere does not exist"),
        ([], "--methods requires an argument"),
    ],
)
def test_mistakes(mistake, arguments, message):
    assert message in mistake("verify-resume", *arguments)


LINE = {"epoch": 1, "loss": 1.5, "lr": 0.1, "images_per_second": 10.0}


@pytest.mark.parametrize(
    ("tensors", "line", "expected"),
    [
        ({}, {"images_per_second": 20.0, "loss": 1.5 + 1e-15}, None),
        ({"b": torch.tensor([[0.0, 1.0], [5.0, 0.0]])}, {}, "b differs by up to 5 at [1, 0]; 1 of 2 tensors differ"),
        ({"a": torch.tensor(-0.0)}, {}, "a differs by up to 0; 1 of 2 tensors differ"),
        ({"a": torch.tensor(float("nan"))}, {}, "a differs by up to inf; 1 of 2 tensors differ"),
        ({"b": torch.tensor([[torch.inf, 0.0]] * 2)}, {}, "b differs by up to inf at [0, 0]; 1 of 2 tensors differ"),
        ({"a": torch.zeros(2)}, {}, "a differs in shape, () and (2,); 1 of 2 tensors differ"),
        ({"c": torch.zeros(2)}, {}, "c differs, as only one run has it; 1 of 3 tensors differ"),
        ({}, {"loss": 1.6}, "loss of epoch 1 in the log differs: 1.5 and 1.6"),
        ({}, {"lr": 0.1 + 1e-15}, f"lr of epoch 1 in the log differs: 0.1 and {0.1 + 1e-15}"),
        ({}, {"unreadable": 1}, "unreadable of epoch 1 in the log differs: None and 1"),
    ],
)
def test_the_first_difference(tensors, line, expected):
    first = {"a": torch.tensor(0.0), "b": torch.zeros(2, 2)}
    assert describe_difference(Outcome(first, [LINE], []), Outcome(first | tensors, [LINE | line], [])) == expected


@pytest.mark.parametrize("change", ["pool=auto", "colt.pool=auto"])
def test_a_given_pool_is_not_replaced(change, tmp_path):
    assert _random_pools(["simclr", "colt"], "digitslt", [change], tmp_path) == []
    (replaced,) = _random_pools(["simclr", "colt"], "digitslt", ["colt.budget=10"], tmp_path)
    assert replaced.startswith("colt.pool=folder:")
