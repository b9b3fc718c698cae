"""External pretrained weights: reads a checkpoint file and loads its state dict into a backbone strictly.

Files are read without executing pickled code. No tensor of the backbone may be missing or have another shape. Unexpected keys
must belong to a classifier or projection head, or to other networks beside the backbone, such as MoCo's key encoder and queue.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from backbones.stem import SMALL_IMAGE
from core.errors import UserError, first_line, is_out_of_memory
from core.words import listed

PICKLES = (".pth", ".pt", ".tar", ".bin", ".ckpt")  # `.pth.tar` is torch's format, not an archive
# usual keys of the state dict in checkpoints; several matches are ambiguous and need --key
KEYS = (
    "state_dict", "model", "model_state_dict", "network", "net", "backbone", "encoder", "student", "teacher",
    "state_dict_ema", "model_ema",
)  # fmt: skip
WRAPPERS = ("", "module.", "model.")  # DataParallel and Lightning
INNER = ("", "backbone.", "encoder.", "encoder_q.", "base_encoder.", "online_encoder.", "network.", "net.")
PREFIXES = tuple(wrapper + inner for wrapper in WRAPPERS for inner in INNER)
HEADS = (
    "fc", "classifier", "head", "heads", "linear", "projector", "projection", "projection_head", "proj", "proj_head",
    "predictor", "prediction_head", "contrastive_head", "prototypes", "last_layer",
)  # fmt: skip
COMPILED = "_orig_mod."  # part of the keys of modules compiled by torch.compile
COUNTER = ".num_batches_tracked"  # of batch norms; unused in forward passes, and missing in files from before torch 0.4.1
PREVIEW = 3  # keys listed in a message
ADVICE = "try another --backbone, or select a part of the file with --prefix"
STEM_ADVICE = (
    f"only the stem differs: it is a 3x3 convolution for images of {SMALL_IMAGE} px or less, and timm's for larger ones; give "
    "--datasets with images of the size that the weights were trained on"
)


@dataclass(frozen=True)
class Loaded:
    """Result of loading a state dict."""

    prefix: str  # prefix of the backbone's keys in the file
    left_out: list[str]  # unused keys of the file


def read_tensors(path: Path, key: str | None = None) -> tuple[dict[str, Tensor], str]:
    """Reads a state dict on the CPU; returns it and its key in the file.

    Args:
        path: `.safetensors`, or one of PICKLES, which are read with `weights_only`.
        key: key of the state dict in a pickled file; None: the file is a state dict, or contains exactly one under KEYS.

    Raises:
        UserError: the file is missing or damaged, contains pickled code, or the state dict is ambiguous.
    """
    if not path.is_file():
        raise UserError(f"there is no file {path}; give a run folder or a weights file")
    if path.suffix == ".safetensors":
        if key:
            raise UserError(f"--key {key} does not apply to {path}: a safetensors file is one state dict")
        try:
            return load_file(path), ""
        except (safetensors.SafetensorError, OSError) as error:
            raise UserError(f"{path} is damaged or not a safetensors file ({first_line(error)}); download it again") from error
    if path.suffix not in PICKLES:
        raise UserError(f"{path} has none of the suffixes .safetensors, {', '.join(PICKLES)}; convert it to a state dict")
    return _select(path, _unpickled(path), key)


def load_backbone(backbone: nn.Module, tensors: Mapping[str, Tensor], prefix: str | None = None) -> Loaded:
    """Loads a state dict into a backbone in place and strictly; only `num_batches_tracked` may be missing.

    Args:
        backbone: from `backbones.create`.
        tensors: state dict; keys may have a common prefix and may include a head.
        prefix: prefix of the backbone's keys; other keys are ignored. None: the only prefix under which the file has the whole
            backbone, or of several the only one in PREFIXES; if there is none, that of the error message is found by names.

    Raises:
        UserError: missing or unexpected keys, wrong shapes, non-finite values, or an untrained network.
    """
    own = backbone.state_dict()
    tensors = {name.replace(COMPILED, ""): tensor for name, tensor in tensors.items()}
    names = _prefixes(own, tensors)
    if prefix and not prefix.endswith(".") and any(name.startswith(f"{prefix}.") for name in tensors):
        prefix = f"{prefix}."
    found = _prefix(own, tensors, names) if prefix is None else prefix.replace(COMPILED, "")
    given = {name.removeprefix(found): tensor for name, tensor in tensors.items() if name.startswith(found)}
    missing = [name for name in own if name not in given and not name.endswith(COUNTER)]
    unlike = [name for name in own if name in given and _kind(given[name]) != _kind(own[name])]
    left_out = [name for name in tensors if not name.startswith(found) or name.removeprefix(found) not in own]
    beside = [name for name in left_out if not name.startswith(found)]
    ignored = beside if prefix is not None or not missing else []
    unexpected = [name for name in left_out if name not in ignored and not _of_a_head(name, found, own)]
    if missing or unlike or unexpected:
        shapes = [f"{name} is {_kind(given[name])}, not {_kind(own[name])}" for name in unlike]
        fitting = len(own.keys() & given.keys()) - len(unlike)
        raise UserError(
            f"{fitting} of {len(own)} keys match{f' under {found!r}' if found else ''}{_listed('missing', missing)}"
            f"{_listed('unexpected', unexpected)}{_listed('of wrong shape', shapes)}; "
            f"{STEM_ADVICE if unlike == [_stem(backbone)] and not (missing or unexpected) else ADVICE}"
        )
    fitted = {name: given.get(name, tensor) for name, tensor in own.items()}
    if not all(torch.isfinite(tensor).all() for tensor in fitted.values()):
        raise UserError("weights are not finite; training diverged, or the file is damaged")
    backbone.load_state_dict(fitted, strict=True)
    _refuse_initial(backbone)
    return Loaded(found if prefix is None else prefix, left_out)


def _unpickled(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged files raise arbitrary exceptions
        if is_out_of_memory(error):
            raise
        code = re.search(r"GLOBAL ([\w.]+)", str(error))
        if code or "TorchScript" in str(error):
            raise UserError(
                f"{path} contains pickled code ({code[1] if code else 'TorchScript'}), which is not executed; if you trust it, "
                "load it and save its state_dict() only"
            ) from error
        raise UserError(f"{path} is damaged, or not a state dict written by torch.save ({type(error).__name__})") from error


def _select(path: Path, content: Any, key: str | None) -> tuple[dict[str, Tensor], str]:
    """Finds the state dict in a file's content; returns it and its key."""
    if not isinstance(content, Mapping):
        raise UserError(f"{path} contains a {type(content).__name__}, not a state dict")
    if key is None and _is_state_dict(content):
        return dict(content), ""
    held = [str(name) for name, value in content.items() if _is_state_dict(value)]
    has = f"it has {', '.join(held)}" if held else f"its keys are {', '.join(map(str, [*content][:PREVIEW]))}, ..."
    if key is not None:
        if key not in held:
            raise UserError(f"{path} has no state dict under the key {key!r}; {has}")
        return next(dict(value) for name, value in content.items() if str(name) == key and _is_state_dict(value)), key
    known = [name for name in held if name in KEYS]
    if len(known) > 1:
        raise UserError(f"{path} contains several networks, {', '.join(known)}; select one with --key")
    if not known:
        raise UserError(f"{path} has no state dict under any of {', '.join(KEYS)}; {has}; select one with --key")
    return dict(content[known[0]]), known[0]


def _is_state_dict(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and bool(value)
        and all(isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in value.items())
    )


def _prefixes(own: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> Counter[str]:
    """Prefixes under which `tensors` have names of the backbone, in any shape: the number of names, except of counters."""
    starts = ((name, start) for name in tensors for start in (0, *(dot.end() for dot in re.finditer(r"\.", name))))
    return Counter(name[:start] for name, start in starts if name[start:] in own and not name.endswith(COUNTER))


def _prefix(own: Mapping[str, Tensor], tensors: Mapping[str, Tensor], names: Counter[str]) -> str:
    """Finds the unique prefix of the whole backbone; if there is none, the one that fits best, for the error message.

    Args:
        own: state dict of the backbone.
        tensors: of the file.
        names: from `_prefixes`.

    Raises:
        UserError: there are several.
    """
    needed = [name for name in own if not name.endswith(COUNTER)]
    whole = [prefix for prefix, count in names.items() if count == len(needed)]
    unlike = {prefix: sum(_kind(tensors[prefix + name]) != _kind(own[name]) for name in needed) for prefix in whole}
    complete = [prefix for prefix in whole if not unlike[prefix]]
    if whole and not complete:
        return min(whole, key=unlike.__getitem__)
    partial = [prefix for prefix in PREFIXES if any(prefix + name in tensors for name in own)]
    fitting = [prefix for prefix in complete if prefix in PREFIXES] or complete or partial
    if len(fitting) > 1:
        choices = " and ".join(repr(prefix) for prefix in fitting)
        raise UserError(f"the backbone's keys occur under several prefixes, {choices}; select one with --prefix")
    return next(iter([*fitting, *(prefix for prefix, _ in names.most_common(1))]), "")


def _stem(backbone: nn.Module) -> str:
    """Name of the weight of the first convolution; empty if it is unknown."""
    first = getattr(backbone, "pretrained_cfg", {}).get("first_conv")
    return f"{first}.weight" if isinstance(first, str) else ""


def _of_a_head(name: str, prefix: str, own: Mapping[str, Tensor]) -> bool:
    """Whether an unexpected key belongs to a head, inside or next to the backbone, that the backbone does not have."""
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
    """A clause with the number of names and the first few; empty if there are none."""
    return f"; {len(names)} {what}: {listed(names, PREVIEW)}" if names else ""


def _kind(tensor: Tensor) -> str:
    """Shape, and dtype unless floating point; floating-point tensors are converted to the backbone's dtype."""
    shape = "x".join(map(str, tensor.shape)) or "a scalar"
    return shape if tensor.is_floating_point() else f"{shape} of {str(tensor.dtype).removeprefix('torch.')}"


def _refuse_initial(backbone: nn.Module) -> None:
    """Raises UserError if all normalisation layers have their initial values, so the network is untrained."""
    norms = [part for part in backbone.modules() if isinstance(part, _BatchNorm) and part.running_mean is not None]
    if norms and all(_is(norm.running_mean, 0) and _is(norm.running_var, 1) for norm in norms):
        raise UserError(
            "all batch norm statistics have their initial values, so the network is untrained; "
            "`run --epochs 0` evaluates an untrained network"
        )
    others = [part for part in backbone.modules() if isinstance(part, nn.LayerNorm | nn.GroupNorm) and part.weight is not None]
    if not norms and others and all(_is(norm.weight, 1) and _is(norm.bias, 0) for norm in others):
        raise UserError("all normalisation layers have their initial values, so the network is untrained")


def _is(tensor: Tensor | None, value: float) -> bool:
    return tensor is None or bool((tensor == value).all())
