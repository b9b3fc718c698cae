"""The command `doctor`: installed packages, device, augmentation backends and available data as text."""

import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from filelock import FileLock

from data.benchmark import BENCHMARKS
from data.pools.pool import pools_text
from data.root import data_folder
from data.views.backend import BACKENDS, choose_backend
from data.views.dali_backend import wheel
from grid.plan import choose_preset
from training.device import choose_device, choose_precision, device_name, has_bf16

PACKAGES = (
    "torch",
    "torchvision",
    "timm",
    "numpy",
    "scikit-learn",
    "pandas",
    "matplotlib",
    "safetensors",
    "cyclopts",
    "kornia",
)
LOCKED = 3  # exit status
SECOND_LOCK = f"""
import sys
from filelock import FileLock, Timeout
try:
    FileLock(sys.argv[1]).acquire(timeout=0)
except Timeout:
    sys.exit({LOCKED})
"""
MISSING = "is MISSING: pip install -r requirements.txt"


def doctor(data_root: Path | None, out: Path | None = None) -> str:
    """Returns the text of the command. Downloads nothing, and writes nothing that stays.

    Args:
        data_root: folder of the data sets; None: the user's cache folder.
        out: folder of runs whose locks are tested; None: no test.
    """
    root = data_folder(data_root)
    device = choose_device("auto")
    preset, why = choose_preset("auto", device)
    precision = choose_precision("auto", preset, device)
    lines = [f"python {platform.python_version()} on {platform.platform()}, {os.cpu_count()} cores"]
    lines += [f"  {package} {_version(package)}" for package in (*PACKAGES, wheel() or "nvidia-dali-cuda130")]
    no_gpu = f" (torch {torch.__version__} finds no CUDA GPU)" if device.type == "cpu" else ""
    lines.append(f"device: {device_name(device)}{no_gpu}")
    lines.append(f"preset auto: {preset} ({why})")
    bf16 = "bfloat16 arithmetic available" if has_bf16(device) else "no bfloat16 arithmetic"
    lines.append(f"precision auto: {precision} in preset {preset} ({bf16})")
    for kind, in_files in (("images in memory", False), ("image files", True)):
        name, why = choose_backend("auto", in_files=in_files, device=device)
        lines.append(f"views auto, {kind}: {name} ({why.removeprefix('auto: ')})")
    lines += [f"  {name}: {backend.missing_dependency(device) or backend.about}" for name, backend in BACKENDS]
    lines.append(f"data root: {root} ({_space(root)})")
    lines += [f"  {name}: {benchmark().describe_copy(root)}" for name, benchmark in BENCHMARKS]
    lines.append("OOD pools")
    lines += [f"  {line}" for line in pools_text(root)]
    if out is not None:
        lines.append(f"locks in {out}: {locks_text(out)}")
    return "\n".join(lines)


def locks_text(folder: Path) -> str:
    """Result of locking a temporary file in a folder while a second process tries the same, as text."""
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".lock.") as file, FileLock(file.name).acquire(timeout=0):
            second = subprocess.run([sys.executable, "-c", SECOND_LOCK, file.name], capture_output=True, encoding="utf-8")
    except FileNotFoundError:
        return "cannot be tested: the folder does not exist yet"
    except PermissionError as error:
        return f"cannot be tested: {error.strerror}; give a writable --out"
    except (OSError, NotImplementedError) as error:
        return f"cannot be used ({error}); give an --out on a file system with locks"
    if second.returncode == 0:
        return "have no effect on other processes; leases alone (lease.json) exclude other workers"
    if second.returncode == LOCKED:
        return "work between processes of this machine; workers of other machines are excluded by leases (lease.json) too"
    return f"cannot be tested ({second.stderr.strip().rpartition(chr(10))[2]})"


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return MISSING


def _space(folder: Path) -> str:
    """Free space on the disk of a folder, which may not exist yet."""
    while not folder.exists():
        folder = folder.parent
    writable = "" if os.access(folder, os.W_OK) else ", NOT writable: choose another with --data-root"
    return f"{shutil.disk_usage(folder).free / 1e9:.0f} GB free{writable}"
