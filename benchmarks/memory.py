"""Memory of the process over the steps of a long run, for every method.

    python benchmarks/memory.py [--methods all] [--steps 10000]

Each method trains a small network in a process of its own, on one thread of the CPU, on random images, with the paper's
hyper-parameters. Two curves are printed, in MB above the first step: resident memory, and memory in use, which is that without
what glibc's allocator keeps after it was freed (`training/device.py`). A leak raises both; a peak raises resident memory once.
"""

import ctypes
import math
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import torch
from cyclopts import App, Parameter

sys.path.insert(0, str(Path(__file__).parent.parent))

from methods import METHODS
from training.config import resolve
from training.device import use_threads
from training.loop import StepStats, train
from training.prepare import prepare

MALLINFO2 = ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")
FIRST = 100  # first step that is printed; then twice as many each time
IMAGES, BATCH = 320, 32
app = App()


class _MallocInfo(ctypes.Structure):
    """`struct mallinfo2` of malloc.h."""

    _fields_ = [(name, ctypes.c_size_t) for name in MALLINFO2]


def bytes_in_use() -> int | None:
    """Bytes that are allocated by malloc and not freed, tensors on the CPU included; None without glibc 2.33 or later."""
    with suppress(OSError, AttributeError):
        mallinfo2 = ctypes.CDLL("libc.so.6").mallinfo2
        mallinfo2.restype = _MallocInfo
        found = mallinfo2()
        return found.uordblks + found.hblkhd
    return None


def resident_bytes() -> int:
    """Resident memory of this process (Linux)."""
    return int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1]) * ctypes.CDLL(None).getpagesize()


@app.default
def main(
    *,
    methods: Annotated[list[str] | None, Parameter(consume_multiple=True, help="names or globs; default: *")] = None,
    steps: Annotated[int, Parameter(help="steps of each method")] = 10_000,
) -> None:
    """Prints the curves of all methods, one process each."""
    print("steps: " + " ".join(map(str, _shown(steps))), flush=True)
    for name in METHODS.select(methods or ["*"]):
        subprocess.run([sys.executable, __file__, "one", name, "--steps", str(steps)], check=True)


@app.command
def one(name: str, *, steps: int) -> None:
    """Trains one method in this process and prints its curves."""
    use_threads(1)
    config = resolve(
        method=name,
        dataset="digitslt",
        preset="paper",
        precision="fp32",
        recipe_changes={
            "backbone": "tiny-resnet8",
            "epochs": math.ceil(steps / (IMAGES // BATCH)),
            "batch_size": BATCH,
            "sizes": "16",
            "lr": 0.01,
        },
    )
    stream = torch.Generator().manual_seed(0)
    images, pool = (torch.randint(256, (n, 3, 16, 16), generator=stream, dtype=torch.uint8) for n in (IMAGES, 2 * IMAGES))
    training = prepare(config, images, torch.device("cpu"), pool=pool.numpy())
    shown, taken = _shown(steps), 0
    resident, used = [], []

    def on_step(step: StepStats) -> None:
        nonlocal taken
        taken += 1
        if taken == 1 or taken in shown:
            resident.append(resident_bytes())
            used.append(bytes_in_use() or 0)

    with tempfile.TemporaryDirectory() as folder, suppress(KeyboardInterrupt):
        files = Path(folder, "checkpoint.pt"), Path(folder, "log.jsonl")
        train(training, *files, on_step, checkpoint_seconds=60, stop=lambda: taken >= steps)
    for what, curve in (("resident", resident), ("in use", used)):
        print(f"{name:12} {what:8} " + " ".join(f"{(now - curve[0]) / 1e6:6.1f}" for now in curve[1:]), flush=True)


def _shown(steps: int) -> list[int]:
    """Steps whose memory is printed."""
    return [*(FIRST * 2**k for k in range(20) if FIRST * 2**k < steps), steps]


if __name__ == "__main__":
    app()
