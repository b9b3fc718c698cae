"""`check-method`: methods of the suite pass, and mistakes in a user's methods are named."""

import re

import pytest

import bench
from tests.users_suite import run_command, users_suite

SUBJECTS = [
    "gradient reaches every trainable parameter",
    "statistics of every batch norm change",
    "steps update the parameters that have no gradient",
    "every buffer changes after the start of the first epoch",
    "every buffer and every branch without gradient affects the loss or the scores",
    "labels are not used",
    "loss falls in 30 steps on one batch",
    "2 processes train as one",
    "a killed run resumes bit-identically",
]
USERS_FILE = """
import torch

from methods.base import Output, register
from methods.byol import BYOL
from methods.simclr import SimCLR


@register("frozen", title="x", paper="x", suite=False)
class Frozen(BYOL):
    def after_step(self, step):
        pass


@register("per-process", title="x", paper="x", suite=False)
class PerProcess(SimCLR):
    def encode(self, views):
        z1, z2 = super().encode(views)
        return z1 - z1.mean(dim=0), z2


@register("counter", title="x", paper="x", suite=False)
class Counter(SimCLR):
    calls = 0

    def objective(self, embeddings, index, epoch):
        output = super().objective(embeddings, index, epoch)
        self.calls += 1
        return Output(output.loss * (1 + 1 / self.calls), output.scores)


@register("own-loss", title="x", paper="x", suite=False)
class OwnLoss(SimCLR):
    def loss(self, batch):
        return super().loss(batch)


@register("broken", title="x", paper="x", suite=False)
class Broken(SimCLR):
    def objective(self, embeddings, index, epoch):
        raise ZeroDivisionError("no objective")
"""


def test_a_method_of_the_suite_passes(capsys):
    assert bench.main(["check-method", "simclr"]) == 0
    assert capsys.readouterr().out.splitlines() == [f"simclr: {subject}: ok" for subject in SUBJECTS]


@pytest.mark.slow
def test_methods_with_a_pool_or_pseudo_labels_pass(capsys):
    """The parts are tested for every method: training/test_method_checks, parallel/test_training and test_verify_resume."""
    chosen = ["colt", "tase"]
    assert bench.main(["check-method", *chosen]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[:2] for line in lines] == [[name, subject] for name in chosen for subject in SUBJECTS]
    assert all(": ok" in line for line in lines)


@pytest.mark.slow
def test_a_users_methods(tmp_path):
    finished = run_command(
        users_suite(tmp_path, USERS_FILE), "check-method", "frozen", "per-process", "counter", "own-loss", "broken"
    )
    assert finished.returncode == 1
    lines = finished.stdout.splitlines()
    frozen, per_process, counter, broken = [line for line in lines if ": FAILED: " in line]
    assert frozen == f"frozen: {SUBJECTS[2]}: FAILED: target_backbone, target_projector"
    assert re.fullmatch(rf"per-process: {SUBJECTS[7]}: FAILED: .+ differs by \S+", per_process)
    assert counter.startswith(f"counter: {SUBJECTS[8]}: FAILED: does NOT resume bit-identically")
    assert broken == "broken: training raises no error: FAILED: ZeroDivisionError: no objective"
    assert f"own-loss: {SUBJECTS[7]}: ok (not applicable: it overrides `loss`, and is trained by one process only)" in lines
    assert "raise ZeroDivisionError" in finished.stderr  # the author's traceback


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["simcrl"], "no method matches 'simcrl'; did you mean 'simclr'?"),
        (["simclr", "--set", "simclr.temprature=1"], "did you mean 'temperature'?"),
        (["colt", "--set", "colt.budget=5000"], "samples 5,000 images, but its OOD pool has 500; lower colt.budget"),
        ([], "--methods requires an argument"),
    ],
)
def test_mistakes(mistake, arguments, message):
    assert message in mistake("check-method", *arguments)
