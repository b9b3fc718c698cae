"""The command `check-method`: trains methods in short runs and names mistakes in their code."""

import tempfile
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from commands.float64_training import by_processes, in_float64, largest_difference, trained
from commands.verify_resume import short_runs, verify_run
from core.errors import UserError, first_line
from data.split import Split
from grid.execute import pool_of_run
from grid.plan import Plan
from methods import METHODS, Method
from training.config import RunConfig
from training.device import use_threads
from training.method_checks import FIXED_STEPS, Check, check_fall, check_labels, check_run
from training.prepare import Training, prepare

EPOCHS, BATCH_SIZE = 3, 32  # of the runs, on 335 images
FIXED_BATCH = 64  # images of the batch on which the loss should fall
PROCESSES, STEPS = 2, 3  # that train together; per epoch
TOLERANCE = 1e-10  # of states in float64; sums in another order differ by less


def check_method(methods: Sequence[str], changes: Sequence[str]) -> Iterator[tuple[bool, str]]:
    """Checks methods one after the other on the digits of scikit-learn; yields whether each check passes, and a line.

    Args:
        methods: names, globs or groups.
        changes: METHOD.KEY=VALUE or recipe.KEY=VALUE.

    Raises:
        UserError: unknown names or invalid settings.
    """
    with tempfile.TemporaryDirectory(prefix="check-method-") as temporary:
        folder = Path(temporary)
        plan = short_runs(
            methods,
            folder,
            dataset="digitslt",
            preset="smoke",
            epochs=EPOCHS,
            batch_size=BATCH_SIZE,
            changes=changes,
            device="cpu",
            data_root=None,
        )
        use_threads(plan.parallelism[1])
        for number, run in enumerate(plan.runs):
            for check in _checks(plan, number, folder / run.config.method):
                result = f"FAILED: {', '.join(check.faults)}" if check.faults else f"ok{check.note and f' ({check.note})'}"
                yield not check.faults, f"{run.config.method}: {check.subject}: {result}"


def _checks(plan: Plan, number: int, folder: Path) -> Iterator[Check]:
    config = plan.runs[number].config
    labels = torch.from_numpy(_split(plan, config).pretrain_labels)
    build = partial(_build, plan, config)
    try:
        yield from check_run(build)
        yield check_labels(lambda given: build(labels=given), labels)
        recipe = replace(config.recipe, epochs=FIXED_STEPS, batch_size=FIXED_BATCH)
        yield check_fall(_build(plan, replace(config, recipe=recipe), images=FIXED_BATCH))
        yield _check_processes(plan, config, folder)
    except UserError:
        raise
    except Exception as error:  # of the method
        traceback.print_exc()
        yield Check("training raises no error", [f"{type(error).__name__}: {first_line(error)}"])
        return
    good, text = verify_run(plan, number, folder)
    yield Check("a killed run resumes bit-identically", [] if good else [text])


def _check_processes(plan: Plan, config: RunConfig, folder: Path) -> Check:
    """Compares two epochs of STEPS steps in float64 by one and by several processes."""
    subject = f"{PROCESSES} processes train as one"
    if METHODS[config.method].loss is not Method.loss:
        return Check(subject, note="not applicable: it overrides `loss`, and is trained by one process only")
    images = len(_split(plan, config).pretrain_images)
    recipe = replace(config.recipe, optimizer="sgd", lr=0.05, warmup_epochs=0.0, epochs=2, batch_size=-(-images // STEPS))
    config = replace(config, recipe=recipe, precision="fp32")
    folder.mkdir(parents=True, exist_ok=True)
    alone = _trained(plan, config)
    together = by_processes(PROCESSES, folder, _trained, plan, config)
    difference, tensor = max(largest_difference(alone, state) for state in together)
    return Check(subject, [] if difference < TOLERANCE else [f"{tensor} differs by {difference:.3g}"])


def _trained(plan: Plan, config: RunConfig) -> dict[str, Tensor]:
    return trained(in_float64(_build(plan, config)))


def _build(plan: Plan, config: RunConfig, images: int | None = None, labels: Tensor | None = None) -> Training:
    """Prepares a run on the first images of its pretraining set; None: on all."""
    pool = pool_of_run(config, plan.data.root)
    pretrain = _split(plan, config).pretrain_images[:images]
    return prepare(config, pretrain, plan.device, pool=None if pool is None else pool.images, labels=labels)


def _split(plan: Plan, config: RunConfig) -> Split:
    return plan.data.split(config.dataset, config.profile, config.split, plan.needs(config.dataset))
