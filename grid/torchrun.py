"""Runs a grid in the processes that torchrun starts: together they train one run after another."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from datetime import timedelta

import torch
from torch import distributed

from core.errors import ProcessEnded, UserError
from core.words import are, counted
from parallel import processes
from training.device import choose_device
from training.progress import redirect_bars

TIMEOUT = timedelta(minutes=30)  # of a collective; processes wait longest while the main process trains the heads of probes


@contextmanager
def process_group(device: str) -> Iterator[None]:
    """Joins the process group of torchrun; only the main process displays progress. No effect without torchrun.

    Each process uses the GPU of its local rank.

    Args:
        device: option --device.

    Raises:
        UserError: a device number.
        ProcessEnded: the environment is not torchrun's, there are more processes than GPUs, or another process has ended.
    """
    count, local = processes.from_environment("WORLD_SIZE", 1), processes.from_environment("LOCAL_RANK", 0)
    if count == 1:
        yield
        return
    chosen = choose_device(device)
    if chosen.type == "cuda":
        if chosen.index is not None:
            raise UserError(f"--device {device}: torchrun gives each process a GPU; give --device cuda")
        if local >= torch.cuda.device_count():
            here, gpus = processes.local_count(), torch.cuda.device_count()
            raise ProcessEnded(
                f"torchrun started {here} processes on a machine with {counted(gpus, 'GPU')}; lower --nproc_per_node"
            )
        torch.cuda.set_device(local)
    if missing := [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]:
        unset = f"{' and '.join(missing)} {are(len(missing))} not set"
        raise ProcessEnded(f"WORLD_SIZE is {count}, but {unset}; start with torchrun, or unset WORLD_SIZE")
    for name in ("RANK", "MASTER_PORT"):
        processes.from_environment(name, 0)
    distributed.init_process_group("cpu:gloo,cuda:nccl" if chosen.type == "cuda" else "gloo", timeout=TIMEOUT)
    try:
        with nullcontext() if processes.is_main() else _silent():
            yield
    except RuntimeError as error:
        if not processes.lost_another(error):
            raise
        place = f"process {processes.rank()} of {count}"
        raise ProcessEnded(f"{place} lost the connection to another one, which ended; repeat the command to resume") from error
    distributed.destroy_process_group()


@contextmanager
def _silent() -> Iterator[None]:
    """Context without standard output, log messages and progress bars."""
    logging.disable(logging.WARNING)
    redirect_bars(lambda text: None)
    with open(os.devnull, "w", encoding="utf-8") as nowhere, redirect_stdout(nowhere):
        yield
