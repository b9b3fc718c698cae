"""The command `export`: writes the backbone of a finished run in the layout of timm's models on the Hugging Face hub.

TO/
    model.safetensors  weights of the backbone
    config.json        architecture and input in timm's format; configuration of the run under `tailbench`
    README.md          model card

timm builds a network from its name. For networks that differ from timm's of that name (slim networks, or the 3x3 stem for small
images), `config.json` names an architecture unknown to timm, so that loading fails instead of returning a network of the same
shapes with other features.
"""

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import nn

import backbones
from backbones.source import source_of
from backbones.stem import SMALL_IMAGE
from core.errors import UserError
from core.files import new_folder, remove_unfinished, writable_folder, write_atomic, write_json, write_text
from core.schema import read_json
from data.benchmark import BENCHMARKS
from data.views.spec import Evaluation
from methods import METHODS
from reports.model_card import Model, model_card
from run_store.folder import RunFolder
from run_store.layout import CONFIG
from run_store.loading import EXPORTED, check_done, load_trained_backbone, open_run
from training.prepare import build_method

log = logging.getLogger(__name__)

CARD = "README.md"
FROM_FOLDER = """{source}
model.load_state_dict(load_file("model.safetensors"))
model.eval()
transform = create_transform(  # of PIL images in RGB
    input_size={input_size}, crop_pct={crop_pct}, interpolation="{interpolation}", mean={mean}, std={std}
)"""
IMPORTS = "from safetensors.torch import load_file\nfrom timm.data import create_transform\n"
BY_SUITE = """import backbones  # of this suite: run it from the suite's folder

model = backbones.create("{name}", image_size={size})"""


def export(path: Path, to: Path | None = None, *, reuse: bool = False) -> Path:
    """Writes the backbone of a run, atomically.

    Args:
        path: folder of a finished run.
        to: new or empty folder; None: `exports/<run>` in the folder of runs.
        reuse: whether `to` may be an earlier export of the run, which is then kept.

    Returns:
        The folder.

    Raises:
        UserError: the run is not finished or untrained, or the folder is not empty or not writable.
    """
    run = open_run(path)
    check_done(run)
    if not run.config.recipe.epochs:
        raise UserError(f"{path} is an untrained network (0 epochs); only trained networks are exported")
    if not run.records():
        raise UserError(f"{path} has no record in the current format, which the model card needs; repeat its `run` command")
    to = (to or run.path.parent / "exports" / run.path.name).absolute()
    if reuse and _is_export(to, run):
        log.info("%s is an export of this run and is kept; delete it to export the run again", to)
        return to
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise UserError(f"{to} is not empty; delete it, or choose another folder with --to")
    backbone = load_trained_backbone(run)
    parent = writable_folder(to.parent, "--to")
    remove_unfinished(parent, to.name)
    with new_folder(to) as unfinished:
        tensors = {name: tensor.contiguous() for name, tensor in backbone.state_dict().items()}
        data = save(tensors, metadata={"format": "pt"})
        write_atomic(unfinished / EXPORTED, lambda file: file.write(data))
        write_json(unfinished / CONFIG, _hub_config(run, backbone))
        write_text(unfinished / CARD, _card(run, backbone))
    return to


def _is_export(folder: Path, run: RunFolder) -> bool:
    """Whether a folder is an export of a run; exports are renamed when complete."""
    try:
        config = read_json(folder / CONFIG, dict[str, Any], "")
    except UserError:
        return False
    held = config.get("tailbench")
    return (folder / EXPORTED).is_file() and isinstance(held, dict) and held.get("run_id") == run.config.run_id


def _hub_config(run: RunFolder, backbone: nn.Module) -> dict[str, Any]:
    """`config.json` in the format of timm's `load_model_config_from_hf`; configuration of the run under `tailbench`."""
    evaluation, size = _evaluation(run), _size(run)
    declared = getattr(backbone, "pretrained_cfg", {})
    passport = run.passport()
    return {
        "architecture": _architecture(run),
        "num_classes": 0,
        "num_features": backbones.feature_width(backbone, size),
        "pretrained_cfg": {
            "tag": run.config.run_id,
            "custom_load": False,
            "input_size": [3, size, size],
            "fixed_input_size": declared.get("fixed_input_size", False),
            "interpolation": evaluation.interpolation,
            "crop_pct": _crop_pct(run),
            "crop_mode": "center",
            "mean": list(evaluation.mean),
            "std": list(evaluation.std),
            "num_classes": 0,
            "pool_size": None,
            "first_conv": declared.get("first_conv"),
            "classifier": declared.get("classifier"),
        },
        "tailbench": {"run_id": run.config.run_id, "passport": passport and passport.short, **run.config.to_json()},
    }


def _is_timm_model(run: RunFolder) -> bool:
    """Whether timm builds the same network from the name of the backbone."""
    config = run.config
    return config.recipe.backbone not in backbones.BACKBONES and BENCHMARKS[config.dataset].image_size > SMALL_IMAGE


def _architecture(run: RunFolder) -> str:
    name = run.config.recipe.backbone
    return name if _is_timm_model(run) or name in backbones.BACKBONES else f"{name}-stem3x3"


def _evaluation(run: RunFolder) -> Evaluation:
    """Evaluation transform of the probes."""
    return BENCHMARKS[run.config.dataset].evaluation_of(run.config.recipe)


def _size(run: RunFolder) -> int:
    """Size in px of the images after the evaluation transform."""
    return _evaluation(run).crop or BENCHMARKS[run.config.dataset].image_size


def _crop_pct(run: RunFolder) -> float:
    """Size divided by the length to which the shorter side is resized before."""
    evaluation = _evaluation(run)
    return 1.0 if evaluation.resize is None else _size(run) / evaluation.resize


def _uses_labels(run: RunFolder) -> bool:
    """Whether the method is an ablation that uses true labels."""
    with torch.device("meta"):
        return build_method(run.config, run.config.recipe.batch_size).uses_labels


def _card(run: RunFolder, backbone: nn.Module) -> str:
    config, evaluation, size = run.config, _evaluation(run), _size(run)
    method, benchmark, name = METHODS[config.method], BENCHMARKS[config.dataset], config.recipe.backbone
    interpolation = evaluation.interpolation
    crop = "" if evaluation.resize is None else f" (shorter side resized to {evaluation.resize}, {interpolation}; center crop)"
    values = (", ".join(f"{value:g}" for value in channels) for channels in (evaluation.mean, evaluation.std))
    return model_card(
        Model(
            name=method.title,
            paper=method.paper,
            method=config.method,
            benchmark=benchmark.title,
            backbone=name,
            width=backbones.feature_width(backbone, size),
            parameters=sum(parameter.numel() for parameter in backbone.parameters()),
            shown="of {0}x{0} px{1}, scaled to [0, 1], normalised with mean {2} and std {3}".format(size, crop, *values),
            library="timm" if _is_timm_model(run) else "pytorch",
            labels=_uses_labels(run),
            code=_code(run),
            loading=_loading(run),
            config=json.dumps(config.to_json(), indent=2),
            passport=_passport_text(run),
        ),
        run.records(),
    )


def _passport_text(run: RunFolder) -> str:
    """Text of the passport without the folder of the images, as exports are published."""
    passport = run.passport()
    return replace(passport, source=replace(passport.source, place="")).text() if passport is not None else ""


def _code(run: RunFolder) -> str:
    """Python that loads the export, by timm and torch alone unless the network is a user's own."""
    evaluation, size = _evaluation(run), BENCHMARKS[run.config.dataset].image_size
    name = run.config.recipe.backbone
    return IMPORTS + FROM_FOLDER.format(
        source=source_of(name, size) or BY_SUITE.format(name=name, size=size),
        input_size=(3, _size(run), _size(run)),
        crop_pct=_crop_pct(run),
        interpolation=evaluation.interpolation,
        mean=evaluation.mean,
        std=evaluation.std,
    )


def _loading(run: RunFolder) -> str:
    name = run.config.recipe.backbone
    if _is_timm_model(run):
        return (
            'From the hub, `timm.create_model("hf-hub:USER/NAME", pretrained=True)` reads `config.json` too; '
            "`timm.data.resolve_model_data_config(model)` then returns the evaluation transform."
        )
    if name in backbones.BACKBONES:
        return f"timm has no model `{name}` and cannot load this `config.json`; the network consists of timm's blocks."
    return (
        f"Not timm's `{name}`: the stem is a 3x3 convolution with stride 1 and no max-pool, for small images. timm cannot load "
        f'this `config.json`. `timm.create_model("{name}", checkpoint_path=...)` builds another network: it fails on the shape '
        "of the stem or, if timm's stem is 3x3 with stride 2, loads the weights and computes other features."
    )
