"""Which device and precision a run uses, and why; threads and memory of the process on a CPU."""

import ctypes
import os
from contextlib import suppress
from pathlib import Path

import torch

from core.errors import UserError

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h of glibc
LARGEST_MMAP_THRESHOLD = 32 << 20  # bytes; older releases refuse more
LARGEST_INT = 2**31 - 1


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
    """The precision for `auto`: float32 as in the papers, bfloat16 in the other presets where the device has it."""
    if wanted != "auto":
        return wanted
    return "bf16" if preset != "paper" and has_bf16(device) else "fp32"


def has_bf16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 in hardware; without it bf16 autocast is slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def device_name(device: torch.device) -> str:
    """What records call the device."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"cpu, {threads} thread{'s' if threads > 1 else ''}"


def use_threads(threads: int | None) -> None:
    """Sets the processor threads of this process (None: torch's choice), and keeps the memory that it frees."""
    if threads is not None:
        torch.set_num_threads(threads)
    _keep_freed_memory()


def _keep_freed_memory() -> None:
    """Makes glibc keep freed memory in the process, where the C library is glibc.

    By default every training step gives tens of megabytes of activations back to the system, and the next step waits for the
    same pages to be zeroed again: 10 to 20 % of a step of the cpu preset (docs/cpu_preset.md).
    """
    if _glibc("mallopt", M_MMAP_THRESHOLD, LARGEST_MMAP_THRESHOLD):
        _glibc("mallopt", M_TRIM_THRESHOLD, LARGEST_INT)


def _glibc(function: str, *arguments: int) -> int:
    """Calls a function of glibc and returns its result; 0, as where it fails, if the C library is another."""
    with suppress(OSError, AttributeError):
        return getattr(ctypes.CDLL("libc.so.6"), function)(*arguments)
    return 0


def wait_for(device: torch.device) -> None:
    """Lets the device finish what it was given, so that a clock can be read."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def memory_bytes() -> int | None:
    """Memory of the machine, where the system tells it."""
    with suppress(AttributeError, ValueError, OSError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return None


def reset_peak_memory(device: torch.device) -> None:
    """Begins a new measurement of `peak_memory_mb`, where the system can (CUDA; Linux)."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        _glibc("malloc_trim", 0)  # memory that the run before has freed
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")


def peak_memory_mb(device: torch.device) -> float | None:
    """Most memory used since the last reset, in MB: allocated on the GPU, or resident of this process (Linux), else None."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    return None
