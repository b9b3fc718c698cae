"""What a Slurm job of `grid/slurm.py` executes: `bench.py`, in one or several processes, and a requeue of a stopped job."""

import os
import runpy
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType
from typing import Any

from training.signals import STOP_SIGNALS

ROOT = Path(__file__).resolve().parent.parent
STOPPED = 130  # exit status of `bench.py` after a stop signal


class Worker:
    """Executes a command line of `bench.py`; submitit pickles it and calls it in every process (Slurm task) of a job.

    A stop signal during training saves a checkpoint first. If the job is then still running, as it is after a warning before
    its time limit or a preemption, it is requeued under the same job id. It is not requeued if Slurm is ending it: Slurm itself
    requeues a preempted job, and a cancelled job must end.
    """

    def __init__(self, arguments: list[str]):
        self._arguments = arguments

    def __call__(self) -> None:
        """Raises SystemExit with the exit status of `bench.py`, if it is not 0."""
        from submitit import JobEnvironment
        from submitit.helpers import TorchDistributedEnvironment

        job = JobEnvironment()
        tasks_per_node = job.num_tasks // job.num_nodes
        if job.num_tasks > 1:
            TorchDistributedEnvironment().export(set_cuda_visible_devices=False, overwrite=True)
        arguments = self._arguments
        if "--workers" not in arguments:  # Slurm need not bind processes to their CPUs
            arguments = [*arguments, "--workers", str(max(1, int(os.environ["SLURM_CPUS_ON_NODE"]) // tasks_per_node))]
        of_submitit = {number: signal.signal(number, _interrupt) for number in STOP_SIGNALS}
        status = _bench(arguments)
        _ignore_stop_signals()
        if status == STOPPED and job.global_rank > 0:
            return  # before the main process requeues the job, an error in another one would end it
        if status == STOPPED and _state(job.job_id) == "RUNNING":
            requeue = getattr(signal, f"SIG{job.USR_SIG}")
            signal.signal(requeue, of_submitit[requeue])
            signal.raise_signal(requeue)
        if status:
            sys.exit(status)

    def checkpoint(self) -> Any:
        """What a requeued job executes: the same again."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def _bench(arguments: list[str]) -> int:
    """Exit status of `bench.py`."""
    sys.argv = [str(ROOT / "bench.py"), *arguments]
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as ended:
        return int(ended.code or 0)
    except KeyboardInterrupt:  # a signal before or after the main function
        return STOPPED
    return 0


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Handles a stop signal outside of training, which has its own handler. Slurm repeats signals; one is enough."""
    _ignore_stop_signals()
    raise KeyboardInterrupt


def _ignore_stop_signals() -> None:
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _state(job: str) -> str:
    """State of a job, such as RUNNING or COMPLETING; empty if Slurm does not answer.

    `job`: with the task of a job array, as in 17_2. `SLURM_JOB_ID` is that of the whole array in one of its tasks.
    """
    command = ["squeue", "--noheader", "--job", job, "--format", "%T"]
    return subprocess.run(command, stdout=subprocess.PIPE, encoding="utf-8").stdout.strip()
