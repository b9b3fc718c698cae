"""Loads the configuration and the backbone of a trained run from its folder."""

import json
from dataclasses import asdict
from pathlib import Path

import torch
from torch import nn

import backbones
from core.errors import UserError
from core.settings import with_changes
from data.benchmark import BENCHMARKS
from data.recipe import Recipe
from methods import METHODS
from run_store.folder import RunFolder
from run_store.layout import CONFIG
from training.config import FORMAT, RunConfig
from training.prepare import build_method


def open_run(path: Path) -> RunFolder:
    """Opens the folder of a run whose training is complete.

    Raises:
        UserError: the folder has no such run, or was written by another version of the suite.
    """
    path = path if path.name not in ("", "..") else path.resolve()  # the folder name ends with the run id
    run = RunFolder(path, read_config(path))
    run_id = run.done.read_text().strip() if run.done.exists() else path.name.rpartition("-")[2]
    if run.config.run_id != run_id:
        raise UserError(f"{path / CONFIG} does not match run id {run_id}: the file or the name of the folder was changed")
    if not run.trained():
        raise UserError(f"training of {path} is not complete; repeat its `run` command")
    return run


def check_done(run: RunFolder) -> None:
    """Raises UserError if the run is not probed on its own data, which includes a check that training changed the weights."""
    if not run.done.exists():
        raise UserError(f"probing of {run.path} on its own data is not complete; repeat its `run` command")


def load_trained_backbone(run: RunFolder) -> nn.Module:
    """Loads the trained backbone of a run, strictly, on the CPU in eval mode.

    The rest of the method is not loaded: heads, memory, EMA target network, pruned branch with its masks and norms.

    Raises:
        UserError: the weights are damaged or of another network.
    """
    config = run.config
    with torch.device("meta"):  # only the name of the backbone within the method is needed
        method = build_method(config, config.recipe.batch_size)
    prefix = next(name for name, module in method.named_modules() if module is method.backbone)
    backbone = backbones.create(config.recipe.backbone, BENCHMARKS[config.dataset].image_size)
    run.load_weights(backbone, f"{prefix}.")
    return backbone.eval()


def read_config(path: Path) -> RunConfig:
    """Reads `config.json` in a run folder. Raises UserError where it is not that of a run of this version of the suite."""
    file = path / CONFIG
    try:
        content = json.loads(file.read_text())
    except OSError as error:
        raise UserError(f"{path} is not a run folder: it has no {CONFIG}; give a run folder, or a file of weights") from error
    except ValueError as error:
        raise UserError(f"{file} is damaged; delete {path} to train this run again") from error
    if not isinstance(content, dict):
        raise UserError(f"{file} is not the configuration of a run; give a run folder, or a file of weights")
    if "tailbench" in content:
        network = content["tailbench"]["recipe"]["backbone"]
        raise UserError(f"{path} is an export; probe its model.safetensors with --backbone {network}, or give the run folder")
    if "weights" in content:
        raise UserError(f"{path} has records of {content.get('label')} and is not a run folder; give that run or file instead")
    if content.pop("format", None) != FORMAT:
        raise UserError(f"{file} was written by another version of this suite; train the run again")
    try:
        recipe = Recipe(**{**content["recipe"], "sizes": tuple(content["recipe"]["sizes"])})
        # `with_changes` converts text to the declared types
        declared = METHODS[content["method"]].Hparams()
        hparams = asdict(with_changes(declared, content["hparams"], content["method"]))
        return RunConfig(**{**content, "recipe": recipe, "hparams": hparams})
    except (KeyError, TypeError, AttributeError, UserError) as error:
        raise UserError(f"{file} has settings that are unknown in this version of the suite") from error
