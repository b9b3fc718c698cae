"""Submits workers to Slurm as a job array (submitit), each of which executes `grid/slurm_worker.py`."""

import math
import re
import shlex
import shutil
from contextlib import redirect_stderr
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from io import StringIO

import torch

from core.errors import UserError
from core.words import counted
from grid.option_values import GPUS
from grid.options import LARGEST, GridOptions, LauncherOptions, check_positive, option_of
from grid.plan import Plan, make_plan, resolved_options
from grid.slurm_worker import ROOT, Worker
from parallel import processes
from training.device import choose_device

FOLDER = "slurm"  # in the folder of runs
SIGNAL_SECONDS = 90  # from the signal to the time limit
SHORTEST = 5  # minutes of a job: the signal can be sent 60 s early, and a worker needs up to a minute to start
REQUEUES = 10_000  # after time limits; submitit has no value for "always"
TIME = re.compile(r"(?:(?P<days>\d{1,7})-)?(\d{1,7})(?::(\d{1,7}))?(?::(?P<third>\d{1,7}))?", re.ASCII)


@dataclass(frozen=True)
class Launch:
    """What is submitted."""

    plan: Plan
    options: GridOptions  # of each worker
    workers: int
    nodes: int  # of a worker
    tasks_per_node: int  # processes of a worker on each of its nodes
    minutes: int  # time limit of a job
    request: LauncherOptions

    @property
    def text(self) -> str:
        """Workers and their processes."""
        count = self.nodes * self.tasks_per_node
        return f"{counted(self.workers, 'Slurm worker')} of {counted(count, 'process')}"


def make_launch(options: GridOptions, request: LauncherOptions) -> Launch:
    """Makes the plan on this host, for the device of the workers.

    Workers get its device, preset, precision, augmentation backend and OOD pools in place of `auto`, which could have another
    meaning on their hosts.

    Raises:
        UserError: an invalid option or run; Slurm or submitit is missing.
    """
    if options.jobs == GPUS:
        raise UserError("--jobs gpus is for one machine; with --launcher slurm give a number of workers, and --gpus-per-node")
    check_positive("--jobs", options.jobs)
    for name in ("nodes", "gpus_per_node", "array_limit"):
        check_positive(option_of(name), getattr(request, name))
    minutes = time_limit(request.time)
    if processes.from_environment("WORLD_SIZE", 1) > 1:
        raise UserError("--launcher slurm starts the processes itself; omit torchrun, and give --nodes and --gpus-per-node")
    _check_installed()
    nodes, tasks_per_node = request.nodes or 1, request.gpus_per_node or 1
    count = nodes * tasks_per_node
    device = _device(options.device, request)
    plan = make_plan(replace(options, jobs=None), device, count)
    resolved = resolved_options(options, plan)
    chosen = replace(
        options,
        jobs=1 if count == 1 else None,
        device=device.type,
        preset=resolved.preset,
        precision=resolved.precision,
        views=resolved.views,
        set=resolved.set,
        out=options.out.absolute(),
        data_root=options.data_root.absolute() if options.data_root else None,
    )
    workers = min(options.jobs or len(plan.runs), len(plan.unfinished))
    return Launch(plan, chosen, workers, nodes, tasks_per_node, minutes, request)


def time_limit(text: str | None) -> int:
    """Minutes of a time limit as Slurm writes it: M, M:S, H:M:S, D-H, D-H:M or D-H:M:S; seconds are rounded up.

    Raises UserError for another form, no limit, or one that is too short or too long.
    """
    if text is None:
        raise UserError("--launcher slurm needs the time limit of a job; give it with --time, such as --time 8:00:00")
    match = TIME.fullmatch(text)
    if match is None:
        raise UserError(f"--time {text}: give minutes, H:M:S, D-H or D-H:M:S, such as 8:00:00 for 8 hours")
    days, *clock = (int(number or 0) for number in match.groups())
    if match["days"] is None and match["third"] is None:
        clock = [0, *clock[:2]]  # without hours
    limit = timedelta(days=days, hours=clock[0], minutes=clock[1], seconds=clock[2])
    minutes = math.ceil(limit / timedelta(minutes=1))
    if not SHORTEST <= minutes <= LARGEST:
        raise UserError(f"--time {text} is a limit of {minutes} minutes; give {SHORTEST} to {LARGEST}")
    return minutes


def _check_installed() -> None:
    if any(shutil.which(program) is None for program in ("sbatch", "srun")):
        raise UserError("--launcher slurm: this host has no sbatch and srun; repeat the command on a login node of the cluster")
    try:
        import submitit  # noqa: F401
    except ImportError as error:
        raise UserError("--launcher slurm needs submitit, which is not installed: pip install submitit") from error


def _device(name: str, request: LauncherOptions) -> torch.device:
    """Device of the workers; this host need not have it. Raises UserError for an unknown device, or one with a number."""
    if name.startswith("cuda:"):
        raise UserError(f"--device {name}: Slurm assigns the GPUs; give --device cuda")
    if name == "auto":
        name = "cuda" if request.gpus_per_node else "cpu"
    return torch.device(name) if name == "cuda" else choose_device(name)


def submit(launch: Launch, checkpoint_seconds: float) -> str:
    """Submits the workers; returns a text on the jobs, their logs and how to watch them.

    Raises:
        UserError: Slurm refuses the jobs.
    """
    from submitit import SlurmExecutor
    from submitit.core.utils import FailedJobError

    options, request = launch.options, launch.request
    folder = options.out / FOLDER / f"{datetime.now():%Y-%m-%d_%H-%M-%S}"
    folder.mkdir(parents=True)  # a second submission in this second is an error
    cpus = [f"--cpus-per-task={options.workers}"] * (options.workers is not None)  # srun does not inherit it from sbatch
    executor = SlurmExecutor(folder, max_num_timeout=REQUEUES)
    given = {name: getattr(request, name) for name in ("partition", "gpus_per_node")} | {"cpus_per_task": options.workers}
    executor.update_parameters(
        job_name="bench",
        time=launch.minutes,
        nodes=launch.nodes,
        ntasks_per_node=launch.tasks_per_node,
        array_parallelism=request.array_limit or launch.workers,
        signal_delay_s=SIGNAL_SECONDS,
        stderr_to_stdout=True,
        setup=[f"export PYTHONPATH={shlex.quote(str(ROOT))}${{PYTHONPATH:+:$PYTHONPATH}}"],  # for the pickled worker
        srun_args=["--kill-on-bad-exit=1", *cpus],  # a process that ends, ends the others, as under torchrun
        additional_parameters={"requeue": True},
        **{name: value for name, value in given.items() if value is not None},
    )
    command = command_line(options)
    worker = Worker([*command, "--checkpoint-seconds", str(checkpoint_seconds)])
    try:
        with redirect_stderr(StringIO()):  # submitit prints the error too
            jobs = executor.submit_array([worker] * launch.workers)
    except FailedJobError as error:
        shutil.rmtree(folder)
        raise UserError(
            f"Slurm refuses the jobs, none is submitted: {error}; correct the options and repeat the command"
        ) from error
    job = jobs[0].job_id.partition("_")[0]
    return "\n".join(
        [
            f"submitted: job {job}, {launch.text}, each with a time limit of {launch.minutes} minutes",
            f"logs: {folder}/{job}_*_log.out",
            f"watch: squeue --job {job}; python {ROOT / 'bench.py'} status --out {shlex.quote(str(options.out))} --watch 10",
        ]
    )


def command_line(options: GridOptions) -> list[str]:
    """Arguments of `bench.py` that give these options."""
    defaults, words = asdict(GridOptions()), []
    for name, value in asdict(options).items():
        if value != defaults[name]:
            values = [] if value is True else value if isinstance(value, list) else [value]  # a flag has no value
            words += [option_of(name), *map(str, values)]
    return words
