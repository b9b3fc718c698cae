"""Which device and precision a run uses, and why."""

import resource
import sys

import torch

from core.errors import UserError

PRECISIONS = ("auto", "fp32", "bf16")


def choose_device(wanted: str) -> torch.device:
    """The device for `auto`, `cpu`, `cuda` or `cuda:N`. Raises UserError if it is not there."""
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(wanted)
    except RuntimeError as error:
        raise UserError(f"no device is named {wanted!r}; use auto, cpu or cuda") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UserError(f"--device {wanted}: torch {torch.__version__} finds no CUDA GPU; use --device cpu, and see `doctor`")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(f"--device {wanted}: there are {torch.cuda.device_count()} CUDA GPUs, numbered from 0")
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"--device {wanted} is not supported; use auto, cpu or cuda")
    return device


def choose_precision(wanted: str, preset: str, device: torch.device) -> str:
    """The precision for `auto`: float32 as in the papers, bfloat16 in the CPU presets where the processor has it."""
    if wanted != "auto":
        return wanted
    if preset != "paper" and (device.type == "cuda" or has_fast_bf16()):
        return "bf16"
    return "fp32"


def has_fast_bf16() -> bool:
    """Whether this processor multiplies bfloat16 in hardware; without it bf16 autocast is slower than float32."""
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def device_name(device: torch.device) -> str:
    """What records call the device."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"cpu, {torch.get_num_threads()} threads"


def peak_memory_mb(device: torch.device) -> float:
    """Most memory used so far, in MB: of the GPU, or of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    unit = 1 if sys.platform == "darwin" else 1024  # Linux counts in KiB, macOS in bytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
