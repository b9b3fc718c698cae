"""The command `verify-resume`: trains methods with and without interruption and compares the results bit by bit."""

import math
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from commands.killed_training import PLACES, Failed, Outcome, read_outcome, train_in_process
from core.errors import UserError
from data.benchmark import BENCHMARKS
from grid.changes import changes_of
from grid.execute import pool_of_run
from grid.options import GridOptions, Preset
from grid.plan import Plan, make_plan
from methods import METHODS
from training.prepare import check_pool_size

POOL_IMAGES = 500  # random images that replace the OOD pool
TIMES = ("images_per_second",)  # values of the log that no two runs share
SUMS = ("loss",)  # sums that are split at checkpoints, so that their last bits depend on when those are saved
ADVICE = (
    "keep state in buffers (`register_buffer`), and draw random numbers in the hooks from torch's global generator, "
    "or from one made with `seed_of`"
)


def verify_resume(
    methods: Sequence[str],
    *,
    dataset: str,
    preset: Preset,
    epochs: int,
    batch_size: int,
    changes: Sequence[str],
    device: str,
    data_root: Path | None,
) -> Iterator[tuple[bool, str]]:
    """Verifies methods one after the other; yields for each whether it resumes bit-identically, and a text.

    Args:
        methods: names or globs.
        dataset: name of the benchmark.
        preset: name of the preset.
        epochs: of the runs, at least 2.
        batch_size: of the runs.
        changes: METHOD.KEY=VALUE or recipe.KEY=VALUE.
        device: auto, cpu, cuda or cuda:N.
        data_root: folder of the data sets, or None for the user's cache folder.

    Raises:
        UserError: unknown names, invalid settings, or missing data.
    """
    if epochs < 2:
        raise UserError(f"--epochs {epochs}: give at least 2, as a run is killed in its first and in its last epoch")
    with tempfile.TemporaryDirectory(prefix="verify-resume-") as temporary:
        folder = Path(temporary)
        plan = short_runs(
            methods,
            folder,
            dataset=dataset,
            preset=preset,
            epochs=epochs,
            batch_size=batch_size,
            changes=changes,
            device=device,
            data_root=data_root,
        )
        for number, run in enumerate(plan.runs):
            good, text = verify_run(plan, number, folder / run.config.method)
            yield good, f"{run.config.method}: {text}"


def short_runs(
    methods: Sequence[str],
    folder: Path,
    *,
    dataset: str,
    preset: Preset,
    epochs: int,
    batch_size: int,
    changes: Sequence[str],
    device: str,
    data_root: Path | None,
) -> Plan:
    """Plans a run of each method and loads its data; images of an OOD pool that is not chosen are random.

    Arguments and errors are those of `verify_resume`; `folder` is one for temporary files.
    """
    names = METHODS.select(methods)
    dataset, *others = BENCHMARKS.select([dataset])
    if others:
        raise UserError(f"--dataset {dataset} and {len(others)} more; give one benchmark")
    plan = make_plan(
        GridOptions(
            methods=names,
            datasets=[dataset],
            preset=preset,
            epochs=epochs,
            batch_size=batch_size,
            set=[*_random_pools(names, dataset, changes, folder), *changes],
            device=device,
            probes=["geometry"],  # needs no labelled images
            jobs=1,
            data_root=data_root,
            out=folder / "runs",
        )
    )
    plan.load_data()
    for run in plan.runs:
        if pool := pool_of_run(run.config, plan.data.root):
            check_pool_size(run.config, len(pool.images))
    return plan


def _random_pools(names: Sequence[str], dataset: str, changes: Sequence[str], folder: Path) -> list[str]:
    """Settings that replace OOD pools by one of random images, which needs no download, where `changes` name no pool."""
    sampling = [name for name in names if "pool" in {field.name for field in fields(METHODS[name].Hparams)}]
    if BENCHMARKS[dataset].in_files or not sampling:
        return []
    file, size = folder / "pool.npy", BENCHMARKS[dataset].image_size
    np.save(file, np.random.RandomState(0).randint(256, size=(POOL_IMAGES, size, size, 3), dtype=np.uint8))
    given = changes_of(GridOptions(set=list(changes)), names).hparams
    return [f"{name}.pool=folder:{file}" for name in sampling if "pool" not in given.get(name, {})]


def verify_run(plan: Plan, number: int, folder: Path) -> tuple[bool, str]:
    """Verifies one run of the plan: whether it resumes bit-identically, and a text."""
    try:
        return _verify(plan, number, folder)
    except Failed as failure:
        return False, f"training failed: {failure}"


def _verify(plan: Plan, number: int, folder: Path) -> tuple[bool, str]:
    """Verifies one run of the plan. Raises Failed if it cannot be trained."""
    whole, killed = folder / "whole", folder / "killed"
    train_in_process(plan, number, whole, None)
    steps = [train_in_process(plan, number, killed, place) for place in range(PLACES)]
    train_in_process(plan, number, killed, None)
    first, second = read_outcome(whole), read_outcome(killed)
    places = f"killed at steps {', '.join(map(str, steps))}"
    different = describe_difference(first, second)
    unsaved = ", ".join(first.unsaved)
    if different is None:
        note = f"; training changes, but checkpoints do not store {unsaved}" if unsaved else ""
        return True, f"resumes bit-identically ({len(first.tensors)} tensors, {places}){note}"
    if unsaved:
        cause = f"training changes, but checkpoints do not store {unsaved}"
    else:
        again = folder / "again"
        train_in_process(plan, number, again, None)
        reproducible = describe_difference(first, read_outcome(again)) is None
        cause = "" if reproducible else "two uninterrupted runs differ too"
    return False, f"does NOT resume bit-identically ({places}): {different}\n  " + "; ".join(filter(None, [cause, ADVICE]))


def describe_difference(first: Outcome, second: Outcome) -> str | None:
    """Describes the first tensor or value that differs between two runs; None if all are equal."""
    names = list(dict.fromkeys([*first.tensors, *second.tensors]))
    different = [name for name in names if not _same_bits(first.tensors.get(name), second.tensors.get(name))]
    if different:
        a, b = first.tensors.get(different[0]), second.tensors.get(different[0])
        return f"{different[0]} differs{_how_much(a, b)}; {len(different)} of {len(names)} tensors differ"
    for epoch, (line, other) in enumerate(zip(first.log, second.log, strict=True), start=1):
        for key in dict.fromkeys([*line, *other]):
            a, b = line.get(key), other.get(key)
            close = key in SUMS and a is not None and b is not None and math.isclose(a, b, rel_tol=1e-12)
            if key not in TIMES and a != b and not close:
                return f"{key} of epoch {epoch} in the log differs: {a} and {b}"
    return None


def _same_bits(a: Tensor | None, b: Tensor | None) -> bool:
    if a is None or b is None or a.dtype != b.dtype or a.shape != b.shape:
        return False
    return torch.equal(a.reshape(-1).view(torch.uint8), b.reshape(-1).view(torch.uint8))


def _how_much(a: Tensor | None, b: Tensor | None) -> str:
    """Clause on the largest difference and its position."""
    if a is None or b is None:
        return ", as only one run has it"
    if a.shape != b.shape:
        return f" in shape, {tuple(a.shape)} and {tuple(b.shape)}"
    distance = torch.where(a == b, 0.0, (a.double() - b.double()).abs()).nan_to_num(math.inf, posinf=math.inf)
    position = [int(i) for i in torch.unravel_index(distance.argmax(), distance.shape)]
    return f" by up to {distance.max():.3g}" + (f" at {position}" if position else "")
