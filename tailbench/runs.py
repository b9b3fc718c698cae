"""Training of one run, in the folder and with the id that the command line gives it."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import nn

from commands.titles import value_text
from core.errors import UserError, nearest
from core.files import writable_folder
from core.schema import InvalidData, convert
from grid.execute import execute
from grid.options import GridOptions, check_names
from grid.plan import make_plan
from run_store.folder import RunFolder
from run_store.loading import load_trained_backbone
from run_store.records import Record
from training.config import RunConfig
from training.device import use_device, use_threads


@dataclass(frozen=True)
class Run:
    """A trained and probed run."""

    path: Path  # of its folder
    config: RunConfig

    @property
    def run_id(self) -> str:
        """Hash of the configuration, 12 hexadecimal digits."""
        return self.config.run_id

    @property
    def records(self) -> list[Record]:
        """Records of its probes, with all their fields (`run_store/records.py`)."""
        return RunFolder(self.path, self.config).records()

    def backbone(self) -> nn.Module:
        """Loads the trained backbone, (B, 3, S, S) to (B, d), on the CPU in eval mode; `load` returns its transform too.

        Raises:
            UserError: the weights are damaged.
        """
        return load_trained_backbone(RunFolder(self.path, self.config))


def train(
    method: str = "simclr",
    dataset: str = "cifar10lt",
    *,
    variant: str | None = None,
    profile: str | None = None,
    split: int = 1,
    seed: int = 0,
    hparams: Mapping[str, Any] | None = None,
    recipe: Mapping[str, Any] | None = None,
    checkpoint_seconds: float = 60.0,
    **options: Any,
) -> Run:
    """Trains a method on a benchmark and probes it, like `bench.py run` with the same settings.

    A finished run is returned without training; an interrupted one resumes. Tables are written by `bench.py report` only.

    Args:
        method: registered name, such as `sdclr+colt`.
        dataset: registered name of a benchmark.
        variant: long-tailed variant; None: the first of the benchmark.
        profile: earlier name of `variant`.
        split: from 1.
        seed: of the training and the probes.
        hparams: hyper-parameters of the method that differ from its defaults, such as `{"temperature": 0.5}`.
        recipe: fields of the recipe that differ from those of the preset, such as `{"lr": 0.1}`.
        checkpoint_seconds: between checkpoints.
        options: other options of `run`, such as preset, epochs, batch_size, backbone, device, precision, views, workers,
            probes, monitor, log, data_root and out (`grid/options.py`).

    Raises:
        UserError: an invalid setting, missing data, or training failed.
        KeyboardInterrupt: training was interrupted; a checkpoint has been saved.
    """
    chosen = profile if variant is None else variant
    owners = ((method, hparams or {}), ("recipe", recipe or {}))
    given = _grid_options(
        options,
        methods=[method],
        datasets=[dataset],
        variants=[] if chosen is None else [chosen],
        splits=[split],
        seeds=[seed],
        set=[f"{owner}.{key}={value_text(value)}" for owner, changes in owners for key, value in changes.items()],
    )
    check_names(given.methods, given.datasets, given.probes)
    plan = make_plan(given)
    if len(plan.runs) != 1:
        raise UserError(f"{method} on {dataset} is {len(plan.runs)} runs; give one method and one benchmark, or use bench.py")
    (run,) = plan.runs
    writable_folder(plan.out, "out")
    threads = torch.get_num_threads()
    use_threads(plan.parallelism[1])
    use_device(plan.device)
    try:
        for _, reason in execute(plan, checkpoint_seconds, plan.unfinished):
            if reason is not None:
                raise UserError(f"{run.path} failed: {reason}")
    finally:
        torch.set_num_threads(threads)
    return Run(run.path, run.config)


def path_of(run: Run | str | PathLike[str]) -> Path:
    """Folder of a run, or a given path."""
    return run.path if isinstance(run, Run) else Path(run)


def _grid_options(options: Mapping[str, Any], **own: Any) -> GridOptions:
    """Options of `run`. Raises UserError for an unknown name, one in `own`, or a value of another type."""
    known = {field.name for field in fields(GridOptions)} - own.keys() - {"jobs"}
    for name in options.keys() - known:
        named = {"variant", "split", "seed", "hparams", "recipe", "checkpoint_seconds"}
        raise UserError(f"train has no option {name!r}{nearest(name, known | named)}")
    probes = options.get("probes", [])
    given = {**own, **options, "probes": [probes] if isinstance(probes, str) else probes}
    try:
        return convert(given, GridOptions, dec_hook=lambda kind, value: kind(value))
    except InvalidData as error:
        raise UserError(f"train: {error}") from error
