"""A run's folder opened by its path: its configuration, and its trained backbone without the rest of the method."""

import json
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

import backbones
from core.errors import UserError
from core.settings import with_changes
from data.benchmark import BENCHMARKS
from data.recipe import Recipe
from methods import METHODS
from run_store.folder import RunFolder
from training.config import FORMAT, RunConfig
from training.prepare import build_method

CONFIG = "config.json"


def open_trained(path: Path) -> RunFolder:
    """The folder of a run that is trained to its end.

    Raises:
        UserError: there is no such run in the folder, or another version of the suite wrote it.
    """
    path = path if path.name not in ("", "..") else path.resolve()  # the name tells the run's id
    run = RunFolder(path, _read_config(path))
    marked = run.done.read_text().strip() if run.done.exists() else path.name.rpartition("-")[2]
    if run.config.run_id != marked:
        raise UserError(
            f"{path / CONFIG} is not that of run {marked}: it was changed, or the folder renamed before it was done"
        )
    if not run.trained():
        raise UserError(f"{path} is not trained to its end; repeat the `run` command that began it")
    return run


def check_done(run: RunFolder) -> None:
    """Raises UserError where a run was not probed since it was trained: only then is it known that training moved it."""
    if not run.done.exists():
        raise UserError(f"{run.path} is not probed to its end on its own data; repeat the `run` command that began it")


def trained_backbone(run: RunFolder) -> nn.Module:
    """The run's backbone with its trained weights, on the CPU in eval mode, loaded strictly.

    What a method adds to it stays behind: heads, memory, a slow copy, a competitor with its masks and norms.

    Raises:
        UserError: the file of weights is damaged or of another network.
    """
    config = run.config
    with torch.device("meta"):  # only the backbone's place in the method is asked for
        method = build_method(config, config.recipe.batch_size)
    place = next(name for name, module in method.named_modules() if module is method.backbone)
    backbone = backbones.create(config.recipe.backbone, BENCHMARKS[config.dataset].image_size)
    try:
        tensors = load_file(run.weights)
        own = {name.removeprefix(f"{place}."): tensor for name, tensor in tensors.items() if name.startswith(f"{place}.")}
        backbone.load_state_dict(own, strict=True)
    except Exception as error:  # safetensors and torch have no common error for a foreign file
        raise UserError(f"{run.weights} is damaged or foreign; delete {run.path} to train this run again") from error
    return backbone.eval()


def _read_config(path: Path) -> RunConfig:
    file = path / CONFIG
    try:
        content = json.loads(file.read_text())
    except OSError as error:
        raise UserError(f"{path} is no run's folder: it has no {CONFIG}; give one, or a file of weights") from error
    except ValueError as error:
        raise UserError(f"{file} is damaged; delete {path} to train this run again") from error
    if not isinstance(content, dict):
        raise UserError(f"{file} is no run's configuration; give a run's folder, or a file of weights")
    if "tailbench" in content:
        network = content["tailbench"]["recipe"]["backbone"]
        raise UserError(f"{path} is an export; probe its model.safetensors with --backbone {network}, or give the run's folder")
    if "weights" in content:
        raise UserError(f"{path} holds records of {content.get('label')}, no run; give that instead")
    if content.pop("format", None) != FORMAT:
        raise UserError(f"{file} is of another version of this suite, which would train something else by it")
    try:
        recipe = Recipe(**{**content["recipe"], "sizes": tuple(content["recipe"]["sizes"])})
        declared = METHODS[content["method"]].Hparams()
        hparams = asdict(with_changes(declared, content["hparams"], content["method"]))  # text becomes the types it spells
        return RunConfig(**{**content, "recipe": recipe, "hparams": hparams})
    except (KeyError, TypeError, AttributeError, UserError) as error:
        raise UserError(f"{file} has other settings than this version of the suite knows") from error
