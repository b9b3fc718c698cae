"""Loads the configuration and the backbone of a trained run from its folder, or from its export."""

from dataclasses import asdict
from pathlib import Path
from typing import Any, TypedDict

import torch
from torch import nn

import backbones
from backbones.state_dict import load_backbone, read_tensors
from core.errors import UserError
from core.schema import convert, read_json
from core.settings import with_changes
from data.benchmark import BENCHMARKS
from data.recipe import Recipe
from methods import METHODS
from run_store.contents import run_id_of
from run_store.folder import RunFolder
from run_store.layout import CONFIG
from run_store.records import Record
from training.config import FORMAT, ConfigFile, RunConfig
from training.prepare import build_method
from training.presets import PRESETS

EXPORTED = "model.safetensors"  # weights of the backbone in an export, whose `config.json` is `Export`


class Export(TypedDict):
    """Content of `config.json` of an export, as far as it is read."""

    tailbench: ConfigFile


def open_run(path: Path) -> RunFolder:
    """Opens the folder of a run whose training is complete.

    Raises:
        UserError: the folder has no such run, or was written by another version of the suite.
    """
    path = path if path.name not in ("", "..") else path.resolve()  # the folder name ends with the run id
    run = RunFolder(path, read_config(path))
    run_id = run_id_of(path)
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
    if not file.exists():
        raise UserError(f"{path} is not a run folder: it has no {CONFIG}; give a run folder")
    advice = f"delete {path} to train this run again"
    content = read_json(file, dict[str, Any], advice)
    if "tailbench" in content:
        network = read_json(file, Export, advice)["tailbench"]["recipe"].get("backbone")
        raise UserError(f"{path} is an export; probe its model.safetensors with --backbone {network}, or give the run folder")
    if "weights" in content:
        raise UserError(f"{path} has records of {content.get('label')} and is not a run folder; give that run or file instead")
    if content.get("format") != FORMAT:
        raise UserError(f"{file} was written by another version of this suite; train the run again")
    return run_config(file, read_json(file, ConfigFile, advice))


def load_export(path: Path) -> tuple[RunConfig, nn.Module]:
    """Loads the configuration of the run and the backbone, on the CPU in eval mode, from the folder of an export.

    Raises:
        UserError: the files are damaged or not of an export.
    """
    config = read_export(path / CONFIG)
    backbone = backbones.create(config.recipe.backbone, BENCHMARKS[config.dataset].image_size)
    tensors, _ = read_tensors(path / EXPORTED)
    load_backbone(backbone, tensors, prefix="")
    return config, backbone.eval()


def read_export(file: Path) -> RunConfig:
    """Reads the configuration of the run from `config.json` of an export. Raises UserError like `read_config`."""
    return run_config(file, read_json(file, Export, "export the run again")["tailbench"])


def run_config(place: Path | str, config: ConfigFile) -> RunConfig:
    """Checks the settings in a file or another named place. Raises UserError for unknown ones."""
    if config["preset"] not in PRESETS:
        raise UserError(f"{place} has a preset that is unknown in this version of the suite: {config['preset']}")
    try:
        # `with_changes` checks names, types and bounds, and converts text to the declared types
        recipe = with_changes(Recipe(), config["recipe"], "recipe")
        hparams = asdict(with_changes(METHODS[config["method"]].Hparams(), config["hparams"], config["method"]))
    except UserError as error:
        raise UserError(f"{place} has settings that are unknown in this version of the suite ({error})") from error
    values: dict[str, Any] = {**config, "recipe": recipe, "hparams": hparams}
    return RunConfig(**values)


def config_of(record: Record) -> RunConfig:
    """Configuration of the run of a record. Raises UserError if it has another run id in this version of the suite."""
    place = f"run {record.run_id}"
    config = run_config(place, convert({name: getattr(record, name) for name in ConfigFile.__annotations__}, ConfigFile))
    if config.run_id != record.run_id:
        raise UserError(f"{place} has other settings than its id, or is of another version of the suite ({config.run_id})")
    return config
