"""Weights from elsewhere in a backbone of this suite: a file of tensors, found, fitted and loaded strictly or not at all.

Files that run code when they are read are not read, and no tensor of the backbone may be missing or of another shape. What the
backbone has no place for has to belong to a classifier or a projection head.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from core.errors import UserError, first_line

PICKLES = (".pth", ".pt", ".tar", ".bin", ".ckpt")  # `.pth.tar` is not a tape archive, but torch's format too
# where training scripts keep the network; names of two networks of one file stand here so that neither is taken unasked
KEYS = (
    "state_dict", "model", "model_state_dict", "network", "net", "backbone", "encoder", "student", "teacher",
    "state_dict_ema", "model_ema",
)  # fmt: skip
WRAPPERS = ("", "module.", "model.")  # of data-parallel and of Lightning's networks
INNER = ("", "backbone.", "encoder.", "encoder_q.", "base_encoder.", "online_encoder.", "network.", "net.")
PREFIXES = tuple(wrapper + inner for wrapper in WRAPPERS for inner in INNER)
HEADS = (
    "fc", "classifier", "head", "heads", "linear", "projector", "projection", "projection_head", "proj", "proj_head",
    "predictor", "prediction_head", "contrastive_head", "prototypes", "last_layer",
)  # fmt: skip
COUNTER = ".num_batches_tracked"  # of batch norms, which read it in no forward pass; files of before torch 0.4.1 lack it
SHOWN = 3  # names in a message
ADVICE = "try another --backbone (for images of 64 px or less its stem is 3x3 here), or name its part of the file with --prefix"


@dataclass(frozen=True)
class Loaded:
    """How a file's tensors came into a backbone."""

    prefix: str  # what stood before the backbone's own names
    left_out: list[str]  # names in the file that the backbone has no place for


def read_tensors(path: Path, key: str | None = None) -> tuple[dict[str, Tensor], str]:
    """The tensors of a file by their names, on the CPU, and the key that they lay under.

    Args:
        path: `.safetensors`, or one of PICKLES, of which nothing but tensors and plain values is unpickled.
        key: of the state dict in a pickled file; None: the file is one itself, or has exactly one under a name of KEYS.

    Raises:
        UserError: there is no such file, it is damaged, holds code, or it is not clear which state dict is meant.
    """
    if not path.is_file():
        raise UserError(f"there is no file {path}; give a run's folder, or a file of weights")
    if path.suffix == ".safetensors":
        if key:
            raise UserError(f"{path} has no keys to choose from, for --key {key}: a safetensors file is one state dict")
        try:
            return load_file(path), ""
        except (safetensors.SafetensorError, OSError) as error:
            raise UserError(f"{path} is damaged or no safetensors file ({first_line(error)}); fetch it again") from error
    if path.suffix not in PICKLES:
        raise UserError(f"{path} ends in none of .safetensors, {', '.join(PICKLES)}; convert it to a state dict")
    return _chosen(path, _unpickled(path), key)


def load_backbone(backbone: nn.Module, tensors: Mapping[str, Tensor], prefix: str | None = None) -> Loaded:
    """Loads a state dict into a backbone, in place and strictly; only a batch norm's `num_batches_tracked` may be missing.

    Args:
        backbone: from `backbones.create`.
        tensors: by names that may share a prefix and may include a head's.
        prefix: before the backbone's names; whatever has another is then left out. None: that of PREFIXES which all names
            that fit share.

    Raises:
        UserError: the report of what does not fit; values that are not finite; a network that was never trained.
    """
    own = backbone.state_dict()
    found = _prefix(own, tensors) if prefix is None else prefix
    given = {name.removeprefix(found): tensor for name, tensor in tensors.items() if name.startswith(found)}
    missing = [name for name in own if name not in given and not name.endswith(COUNTER)]
    unlike = [name for name in own if name in given and _kind(given[name]) != _kind(own[name])]
    left_out = [name for name in tensors if not name.startswith(found) or name.removeprefix(found) not in own]
    passed_over = [name for name in left_out if prefix is not None and not name.startswith(found)]
    unexpected = [name for name in left_out if name not in passed_over and not _of_a_head(name, found, own)]
    if missing or unlike or unexpected:
        shapes = [f"{name} is {_kind(given[name])} and not {_kind(own[name])}" for name in unlike]
        fitting = len(own.keys() & given.keys()) - len(unlike)
        raise UserError(
            f"{fitting} of its {len(own)} keys fit{_listed('missing', missing)}{_listed('unexpected', unexpected)}"
            f"{_listed('of another shape', shapes)}; {ADVICE}"
        )
    fitted = {name: given.get(name, tensor) for name, tensor in own.items()}
    if not all(torch.isfinite(tensor).all() for tensor in fitted.values()):
        raise UserError("values are not finite; the training that made these weights diverged, or the file is damaged")
    backbone.load_state_dict(fitted, strict=True)
    _refuse_initial(backbone)
    return Loaded(found, left_out)


def _unpickled(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged files can raise almost anything
        code = re.search(r"GLOBAL ([\w.]+)", str(error))
        if code or "TorchScript" in str(error):
            raise UserError(
                f"{path} holds pickled code ({code[1] if code else 'TorchScript'}), which would run when it is read; where you "
                "trust it, load it yourself and save its state_dict() alone"
            ) from error
        raise UserError(f"{path} is damaged, or no state dict written by torch.save ({type(error).__name__})") from error


def _chosen(path: Path, content: Any, key: str | None) -> tuple[dict[str, Tensor], str]:
    """The state dict that a file's content is or holds, and its key."""
    if not isinstance(content, Mapping):
        raise UserError(f"{path} holds no state dict but a {type(content).__name__}")
    if key is None and _is_state_dict(content):
        return dict(content), ""
    held = [str(name) for name, value in content.items() if _is_state_dict(value)]
    has = f"it has {', '.join(held)}" if held else f"its keys are {', '.join(map(str, [*content][:SHOWN]))}, ..."
    if key is not None:
        if key not in held:
            raise UserError(f"{path} has no state dict under the key {key!r}; {has}")
        return dict(content[key]), key
    known = [name for name in held if name in KEYS]
    if len(known) > 1:
        raise UserError(f"{path} holds several networks, {', '.join(known)}; choose with --key")
    if not known:
        raise UserError(f"{path} has no state dict under any of {', '.join(KEYS)}; {has}; choose with --key")
    return dict(content[known[0]]), known[0]


def _is_state_dict(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and bool(value)
        and all(isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in value.items())
    )


def _prefix(own: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> str:
    """The one prefix under which any of the backbone's names are there; nothing where none is."""
    fitting = [prefix for prefix in PREFIXES if any(prefix + name in tensors for name in own)]
    if len(fitting) > 1:
        shown = " and ".join(repr(prefix) for prefix in fitting)
        raise UserError(f"the backbone's names are there under several prefixes, {shown}; choose with --prefix")
    return fitting[0] if fitting else ""


def _of_a_head(name: str, prefix: str, own: Mapping[str, Tensor]) -> bool:
    """Whether a name that is left over begins, in or beside the backbone, with a head's that the backbone does not have."""
    wrapper = next(wrapper for wrapper in reversed(WRAPPERS) if prefix.startswith(wrapper))
    parts = name.removeprefix(prefix if name.startswith(prefix) else wrapper).split(".")[:-1]
    path = ""
    for part in parts:
        if part not in HEADS:
            return False
        path += part + "."
        if not any(owned.startswith(path) for owned in own):
            return True
    return False


def _listed(what: str, names: Sequence[str]) -> str:
    """A clause of a report: how many, and the first few; nothing for none."""
    rest = ", ..." if len(names) > SHOWN else ""
    return f"; {len(names)} {what}: {', '.join(names[:SHOWN])}{rest}" if names else ""


def _kind(tensor: Tensor) -> str:
    """Shape, and type where it is no floating point number: those are converted to the backbone's."""
    shape = "x".join(map(str, tensor.shape)) or "a number"
    return shape if tensor.is_floating_point() else f"{shape} of {str(tensor.dtype).removeprefix('torch.')}"


def _refuse_initial(backbone: nn.Module) -> None:
    """Raises UserError where no normalisation has ever moved: nothing untrained may pass for trained."""
    norms = [part for part in backbone.modules() if isinstance(part, _BatchNorm) and part.running_mean is not None]
    if norms and all(_is(norm.running_mean, 0) and _is(norm.running_var, 1) for norm in norms):
        raise UserError(
            "its batch norms have never seen an image, so this is an initialisation and no trained network; "
            "`run --epochs 0` probes an untrained one, and says so"
        )
    others = [part for part in backbone.modules() if isinstance(part, nn.LayerNorm | nn.GroupNorm) and part.weight is not None]
    if not norms and others and all(_is(norm.weight, 1) and _is(norm.bias, 0) for norm in others):
        raise UserError("its norms are as they were initialised, so this is no trained network")


def _is(tensor: Tensor | None, value: float) -> bool:
    return tensor is None or bool((tensor == value).all())
