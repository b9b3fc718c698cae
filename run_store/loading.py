"""Opening a trained run by the path of its folder: configuration, and backbone without the rest of the method."""

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
from run_store.layout import CONFIG
from training.config import FORMAT, RunConfig
from training.prepare import build_method


def open_run(path: Path) -> RunFolder:
    """Opens the folder of a run whose training is complete.

    Raises:
        UserError: the folder holds no such run, or another version of the suite wrote it.
    """
    path = path if path.name not in ("", "..") else path.resolve()  # the name ends in the run id
    run = RunFolder(path, read_config(path))
    marked = run.done.read_text().strip() if run.done.exists() else path.name.rpartition("-")[2]
    if run.config.run_id != marked:
        raise UserError(f"{path / CONFIG} is not that of run {marked}: the file or the name of the folder was changed")
    if not run.trained():
        raise UserError(f"training of {path} is not complete; repeat its `run` command")
    return run


def check_done(run: RunFolder) -> None:
    """Raises UserError where a run is not yet probed on its own data, which checks that training changed the weights."""
    if not run.done.exists():
        raise UserError(f"probing of {run.path} on its own data is not complete; repeat its `run` command")


def load_trained_backbone(run: RunFolder) -> nn.Module:
    """The run's backbone with its trained weights, on the CPU in eval mode, loaded strictly.

    What a method adds is left out: heads, memory, an EMA target network, a pruned branch with its masks and norms.

    Raises:
        UserError: the file of weights is damaged or of another network.
    """
    config = run.config
    with torch.device("meta"):  # only the backbone's name in the method is needed
        method = build_method(config, config.recipe.batch_size)
    place = next(name for name, module in method.named_modules() if module is method.backbone)
    backbone = backbones.create(config.recipe.backbone, BENCHMARKS[config.dataset].image_size)
    try:
        tensors = load_file(run.weights)
        own = {name.removeprefix(f"{place}."): tensor for name, tensor in tensors.items() if name.startswith(f"{place}.")}
        backbone.load_state_dict(own, strict=True)
    except Exception as error:  # safetensors and torch have no common error for a file that does not fit
        raise UserError(f"{run.weights} is damaged or of another network; delete {run.path} to train this run again") from error
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
        raise UserError(f"{path} holds records of {content.get('label')}, not a run; give that run or file instead")
    if content.pop("format", None) != FORMAT:
        raise UserError(f"{file} is of another version of this suite, under which it means another training")
    try:
        recipe = Recipe(**{**content["recipe"], "sizes": tuple(content["recipe"]["sizes"])})
        # `with_changes` converts text to the declared types
        declared = METHODS[content["method"]].Hparams()
        hparams = asdict(with_changes(declared, content["hparams"], content["method"]))
        return RunConfig(**{**content, "recipe": recipe, "hparams": hparams})
    except (KeyError, TypeError, AttributeError, UserError) as error:
        raise UserError(f"{file} has settings that this version of the suite does not know") from error
