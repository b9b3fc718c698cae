"""Choice of device and precision; CPU threads and memory of the process."""

import ctypes
import os
from contextlib import suppress
from pathlib import Path

import torch

from backbones.precision import has_tf32
from core.errors import UserError
from core.words import counted

CPU = torch.device("cpu")
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h of glibc
LARGEST_MMAP_THRESHOLD = 32 << 20  # bytes; older releases refuse more
LARGEST_INT = 2**31 - 1


def choose_device(name: str) -> torch.device:
    """Resolves `auto`, `cpu`, `cuda` or `cuda:N`. Raises UserError if the device is not available."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UserError(f"unknown device {name!r}; use auto, cpu or cuda") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UserError(f"--device {name}: torch {torch.__version__} finds no CUDA GPU; use --device cpu, and see `doctor`")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(f"--device {name}: torch finds {torch.cuda.device_count()} CUDA GPUs, numbered from 0")
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"--device {name} is not supported; use auto, cpu or cuda")
    return device


def choose_precision(precision: str, preset: str, device: torch.device) -> str:
    """Resolves `auto`: fp32 in the paper preset, else bf16 if the device supports it.

    Raises:
        UserError: tf32 on a device without it.
    """
    if precision == "tf32" and not has_tf32(device):
        raise UserError(f"--precision tf32: {device} has no TF32 arithmetic, which NVIDIA GPUs have from Ampere on; use fp32")
    if precision != "auto":
        return precision
    return "bf16" if preset != "paper" and has_bf16(device) else "fp32"


def has_bf16(device: torch.device) -> bool:
    """Whether the device has bfloat16 arithmetic in hardware; without it, bf16 autocast is slower than float32.

    Assumed of a GPU of another machine, as NVIDIA's have it since 2020.
    """
    if device.type == "cuda":
        if not torch.cuda.is_available():
            return True
        with torch.cuda.device(device):  # torch's function answers for the current device
            return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def device_name(device: torch.device) -> str:
    """Name of the device for records."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"cpu, {counted(torch.get_num_threads(), 'thread')}"


def use_threads(threads: int | None) -> None:
    """Sets the CPU threads of this process (None: torch's default), and makes the allocator keep freed memory."""
    if threads is not None:
        torch.set_num_threads(threads)
    _keep_freed_memory()


def _keep_freed_memory() -> None:
    """Makes glibc's malloc keep freed memory in the process; no effect with another C library.

    By default, every training step returns tens of megabytes of activations to the system, and page faults in the next step
    take 10 to 20 % of its time in the cpu preset (docs/cpu_preset.md).
    """
    if _glibc("mallopt", M_MMAP_THRESHOLD, LARGEST_MMAP_THRESHOLD):
        _glibc("mallopt", M_TRIM_THRESHOLD, LARGEST_INT)


def _glibc(function: str, *arguments: int) -> int:
    """Calls a function of glibc and returns its result; 0, its value on failure, with another C library."""
    with suppress(OSError, AttributeError):
        return getattr(ctypes.CDLL("libc.so.6"), function)(*arguments)
    return 0


def use_device(device: torch.device) -> None:
    """Makes a CUDA device with a number the current one of this thread, on which libraries allocate by default."""
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)


def synchronize(device: torch.device) -> None:
    """Waits until a CUDA device has finished all queued work, for timing."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def memory_bytes(device: torch.device = CPU) -> int | None:
    """Memory of the GPU, or physical memory of the machine; None if unknown, as of a GPU of another machine."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory if torch.cuda.is_available() else None
    with suppress(AttributeError, ValueError, OSError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return None


def reset_peak_memory(device: torch.device) -> None:
    """Resets `peak_memory_mb` (CUDA and Linux only)."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        _glibc("malloc_trim", 0)  # returns memory freed by the previous run
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")


def peak_memory_mb(device: torch.device) -> float | None:
    """Peak memory since the last reset in MB: allocated on the GPU, or resident set size (Linux); else None."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    return None
