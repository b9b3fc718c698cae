"""Small runs for tests: a tiny network, few steps, float32."""

import pytest

from grid.execute import execute
from grid.plan import Plan
from methods import METHODS
from training.config import RunConfig, resolve

# parameters of tests that take seconds for each method: methods beyond `--methods all` are tested with the slow tests
EVERY_METHOD = [pytest.param(name, marks=() if method.suite else pytest.mark.slow) for name, method in METHODS]
SMALL = ("--datasets", "digitslt", "--preset", "smoke", "--precision", "fp32", "--epochs", "2", "--batch-size", "64")
SMALL += ("--device", "cpu")  # command line options
TINY = {"backbone": "tiny-resnet8", "epochs": 2, "batch_size": 32, "warmup_epochs": 0.0, "lr": 1e-3, "sizes": "16"}


def small_config(method: str, *, seed: int = 0, precision: str = "fp32", hparams=None, **recipe) -> RunConfig:
    """A run on digitslt in the smoke preset, with the given changes to its recipe."""
    return resolve(
        method=method,
        dataset="digitslt",
        profile=None,
        split=1,
        seed=seed,
        preset="smoke",
        precision=precision,
        recipe_changes={**TINY, **recipe},
        hparam_changes=hparams or {},
    )


def failures(plan: Plan) -> dict[str, str]:
    """Executes the unfinished runs of a plan; returns the reasons of failures by folder name."""
    plan.runs[0].path.parent.mkdir(parents=True, exist_ok=True)
    return {run.path.name: reason for run, reason in execute(plan, 60, plan.unfinished) if reason is not None}
