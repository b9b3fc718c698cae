"""Exports the backbone of a finished run as a folder in the layout of timm's models on Hugging Face's hub.

TO/
    model.safetensors  the backbone alone
    config.json        architecture and input, as timm reads them; the run's configuration under `tailbench`
    README.md          the model card

timm builds a network by its name alone. Where this suite builds another (its own slim networks, or the 3x3 stem for small
images), `config.json` names an architecture that timm does not know, so that timm refuses it rather than build a network of the
same shapes that computes other features.
"""

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import nn

import backbones
from backbones.stem import SMALL_IMAGE
from core.errors import UserError
from core.files import writable_folder, write_atomic, write_json, write_text
from data.benchmark import BENCHMARKS
from data.views.spec import Evaluation
from methods import METHODS
from reports.model_card import Model, model_card
from run_store.folder import RunFolder
from run_store.layout import CONFIG
from run_store.loading import check_done, load_trained_backbone, open_run
from training.prepare import build_method

WEIGHTS = "model.safetensors"
CARD = "README.md"
BY_TIMM = """import timm

model = timm.create_model("{name}", num_classes=0, checkpoint_path="model.safetensors").eval()"""
BY_SUITE = """from safetensors.torch import load_file

import backbones  # of this suite: run it from the suite's folder

model = backbones.create("{name}", image_size={size})
model.load_state_dict(load_file("model.safetensors"))
model.eval()"""


def export(path: Path, to: Path | None = None) -> Path:
    """Writes the backbone of the run in `path`; the folder is there whole or not at all.

    Args:
        path: folder of a finished run.
        to: a folder that does not exist, or is empty; None: `exports/<run>` beside the run.

    Returns:
        The folder.

    Raises:
        UserError: the run is not finished or was never trained, there is something in the folder already, or it cannot be
            written.
    """
    run = open_run(path)
    check_done(run)
    if not run.config.recipe.epochs:
        raise UserError(f"{path} is an untrained network (0 epochs), and is not exported: it could pass for a trained one")
    if not run.records():
        raise UserError(
            f"{path} has no record that this version of the suite reads, for the model card; repeat its `run` command"
        )
    to = to or run.path.parent / "exports" / run.path.name
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise UserError(f"there is something in {to} already; delete it, or choose another folder with --to")
    backbone = load_trained_backbone(run)
    parent = writable_folder(to.absolute().parent, "--to")
    unfinished = Path(tempfile.mkdtemp(dir=parent, prefix=f".{to.name}.", suffix=".part"))
    try:
        tensors = {name: tensor.contiguous() for name, tensor in backbone.state_dict().items()}
        data = save(tensors, metadata={"format": "pt"})
        write_atomic(unfinished / WEIGHTS, lambda file: file.write(data))
        write_json(unfinished / CONFIG, hub_config(run, backbone))
        write_text(unfinished / CARD, _card(run, backbone))
        unfinished.chmod(0o755)  # temporary folders are private
        unfinished.replace(to)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return to


def hub_config(run: RunFolder, backbone: nn.Module) -> dict[str, Any]:
    """`config.json` as timm's `load_model_config_from_hf` reads it, with the run's configuration under `tailbench`."""
    shown, size = _shown(run), _size(run)
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
            "interpolation": shown.interpolation,
            "crop_pct": 1.0 if shown.resize is None else size / shown.resize,
            "crop_mode": "center",
            "mean": list(shown.mean),
            "std": list(shown.std),
            "num_classes": 0,
            "pool_size": None,
            "first_conv": declared.get("first_conv"),
            "classifier": declared.get("classifier"),
        },
        "tailbench": {"run_id": run.config.run_id, "passport": passport and passport.short, **run.config.to_json()},
    }


def by_timm(run: RunFolder) -> bool:
    """Whether timm builds the same network by the backbone's name."""
    config = run.config
    return config.recipe.backbone not in backbones.BACKBONES and BENCHMARKS[config.dataset].image_size > SMALL_IMAGE


def _architecture(run: RunFolder) -> str:
    name = run.config.recipe.backbone
    return name if by_timm(run) or name in backbones.BACKBONES else f"{name}-stem3x3"


def _shown(run: RunFolder) -> Evaluation:
    return BENCHMARKS[run.config.dataset].evaluation_of(run.config.recipe)


def _size(run: RunFolder) -> int:
    """Side in px of the images that the probes showed."""
    return _shown(run).crop or BENCHMARKS[run.config.dataset].image_size


def _shown_labels(run: RunFolder) -> bool:
    with torch.device("meta"):
        return build_method(run.config, run.config.recipe.batch_size).wants_labels


def _card(run: RunFolder, backbone: nn.Module) -> str:
    config, shown, size = run.config, _shown(run), _size(run)
    method, benchmark, name = METHODS[config.method], BENCHMARKS[config.dataset], config.recipe.backbone
    cut = "" if shown.resize is None else f" (shorter side to {shown.resize}, {shown.interpolation}, centre cut out)"
    values = (", ".join(f"{value:g}" for value in channels) for channels in (shown.mean, shown.std))
    code = BY_TIMM if by_timm(run) else BY_SUITE
    return model_card(
        Model(
            name=method.title,
            paper=method.paper,
            method=config.method,
            benchmark=benchmark.title,
            backbone=name,
            width=backbones.feature_width(backbone, size),
            parameters=sum(parameter.numel() for parameter in backbone.parameters()),
            shown="of {0}x{0} px{1}, in [0, 1] less mean {2} over deviation {3}".format(size, cut, *values),
            library="timm" if by_timm(run) else "pytorch",
            labels=_shown_labels(run),
            code=code.format(name=name, size=benchmark.image_size),
            loading=_loading(run),
            config=json.dumps(config.to_json(), indent=2),
            passport=passport.text() if (passport := run.passport()) else "",
        ),
        run.records(),
    )


def _loading(run: RunFolder) -> str:
    name = run.config.recipe.backbone
    if by_timm(run):
        return (
            'From the hub, `timm.create_model("hf-hub:USER/NAME", pretrained=True)` reads `config.json` too: with it '
            "`timm.data.resolve_model_data_config(model)` tells how images are to be shown."
        )
    if name in backbones.BACKBONES:
        return f"timm has no network named `{name}`, and refuses this `config.json`; its blocks are timm's."
    return (
        f"Not timm's `{name}`: the stem is one 3x3 convolution of stride 1 without a max-pool, for small images. timm refuses "
        f'this `config.json`. `timm.create_model("{name}", checkpoint_path=...)` builds another network: it fails on the shape '
        "of the stem or, where timm's own is 3x3 too, of stride 2, loads the weights and computes other features."
    )
