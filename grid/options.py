"""Options of `run` and `plan`, and of the launcher. Does not import torch, so that `--help` is fast."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from core.errors import UserError
from core.files import expand_user
from core.method_groups import METHOD_GROUPS
from core.registry import ALL, FOLDER, names_in_source, select
from grid.option_values import Jobs, Names, Number, Numbers, Texts

LARGEST = 10**6  # number of processes, threads or epochs

RENAMED = {"--profiles": "--variants", "--profile": "--variant"}  # options by their earlier names

Preset = Literal["auto", "paper", "cpu", "cpu-long", "smoke"]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class GridOptions:
    """The options of `run` and `plan`."""

    methods: Annotated[list[str], Names] = field(default_factory=lambda: ["all"])
    "Methods: names, globs, or a group: all (of the main job), long-tail, baselines, every; `list` shows them."

    datasets: Annotated[list[str], Names] = field(default_factory=lambda: ["cifar10lt"])
    "Benchmarks: names, globs, all, or folder:PATH for your own images, in a folder per class or in webdataset shards."

    backbone: str | None = None
    "Network, by its name in this suite or in timm; default: that of the preset."

    splits: Annotated[list[int], Numbers] = field(default_factory=lambda: [1])
    "Splits of the variant, from 1: numbers and ranges such as 1-5; `list` shows how many there are and which are official."

    seeds: Annotated[list[int], Numbers] = field(default_factory=lambda: [0])
    "Seeds of the training runs: numbers and ranges such as 0-2."

    variants: Annotated[list[str], Names] = field(default_factory=list)
    "Long-tailed variants, such as exp-5000-50, balanced, ir=50 (imbalance ratio); default: the first; see `list`."

    preset: Preset = "auto"
    "Scale: paper (protocol of the papers), cpu (1 to 3 min per run), cpu-long (5 min), smoke; auto: paper on a GPU, else cpu."

    epochs: Annotated[int | None, Number] = None
    "Epochs; default: those of the preset. 0 probes the untrained network."

    batch_size: Annotated[int | None, Number] = None
    "Batch size; default: that of the preset. The learning rate is scaled with it."

    accumulate: Annotated[int | None, Number] = None
    "Parts of a batch that are encoded one after the other, to save memory; the loss is that of the whole batch. Default: 1."

    device: str = "auto"
    "auto, cpu, cuda or cuda:N."

    precision: Literal["auto", "fp32", "tf32", "bf16"] = "auto"
    "fp32, tf32 (TF32 convolutions) or bf16; auto: fp32 in the paper preset; else bf16 if the device supports it."

    compile: Annotated[bool, Parameter(negative=())] = False
    "Compile the networks by torch.compile, for speed in long runs; results change by rounding only."

    views: str = "auto"
    "Augmentation backend: torch, dali, kornia or torchvision; torch+dali: in memory torch, files dali; auto: the fastest."

    jobs: Annotated[int | Literal["gpus"] | None, Jobs] = None
    "Processes that train runs in parallel; gpus: one per GPU; default: 1 on GPU and in smoke, else per core; Slurm: per run."

    workers: Annotated[int | None, Number] = None
    "CPU threads per process, for augmentation and CPU training; default: cores divided by --jobs; Slurm: those of a worker."

    probes: Annotated[list[str], Names] = field(default_factory=list)
    "Probes: names, globs, ts (all four of TS) or all; default, also without a value: those that `list` marks as default."

    monitor: Literal["none", "knn"] = "none"
    "knn: kNN accuracy on validation images during training, in the progress bar and the log."

    monitor_every: Annotated[int | None, Number] = None
    "Epochs between evaluations of the monitor; default: a twentieth of the run."

    log: Annotated[list[str], Names] = field(default_factory=list)
    "Scalars of each epoch for tensorboard, wandb, mlflow (optional packages) or csv, beside the log of each run."

    set: Annotated[list[str], Texts] = field(default_factory=list)
    "METHOD.KEY=VALUE, recipe.KEY=VALUE, or KEY=VALUE if one of these has the key; `list` shows the keys."

    data_root: Path | None = None
    "Folder of the data sets; default: the user's cache folder."

    out: Path = Path("runs")
    "Folder of runs and tables."

    def __post_init__(self) -> None:
        object.__setattr__(self, "out", expand_user(self.out))


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class LauncherOptions:
    """Where `run` trains."""

    launcher: Literal["local", "slurm"] = "local"
    "local: on this machine; slurm: submit --jobs workers, each of which trains one run after another, as a job array."

    partition: str | None = None
    "Slurm: partition of the jobs; default: that of the cluster."

    time: str | None = None
    "Slurm: time limit of a job, such as 8:00:00 or 2-0; before it ends, the run is saved and the job requeued."

    gpus_per_node: Annotated[int | None, Number] = None
    "Slurm: GPUs of a worker on each of its nodes; several train each run together, as under torchrun."

    nodes: Annotated[int | None, Number] = None
    "Slurm: nodes of a worker, which train each run together; default: 1."

    array_limit: Annotated[int | None, Number] = None
    "Slurm: largest number of workers at the same time; default: no limit."


def check_local(request: LauncherOptions) -> None:
    """Raises UserError for options that only Slurm uses."""
    for name, value in asdict(request).items():
        if value is not None and name != "launcher":
            raise UserError(f"{option_of(name)} has no effect without --launcher slurm")


def option_of(name: str) -> str:
    """Option of a field."""
    return f"--{name.replace('_', '-')}"


def current_spelling(word: str) -> str:
    """A word of the command line with the present name of an option that was renamed."""
    option, sign, value = word.partition("=")
    return RENAMED.get(option, option) + sign + value


def check_positive(option: str, number: int | None) -> None:
    """Raises UserError for a number below 1 or above LARGEST."""
    if number is not None and not 1 <= number <= LARGEST:
        raise UserError(f"{option} {number}: give a number from 1 to {LARGEST}")


def check_names(
    methods: Iterable[str] | None = None, datasets: Iterable[str] | None = None, probes: Iterable[str] | None = None
) -> None:
    """Rejects unknown names and globs by parsing the source of the registries, in 0.1 s instead of seconds for imports.

    Raises:
        UserError: a name or glob has no match.
    """
    for name in probes or ():
        if name.lower().startswith("linear"):
            raise UserError(f"no probe matches {name!r}; did you mean 'ridge' (closed form), or 'sdclr' or 'bcl' (by SGD)?")
    for option, patterns in (("--methods", methods), ("--datasets", datasets), ("--probes", probes)):
        kind, _, groups = _REGISTRIES[option]
        patterns = [pattern for pattern in patterns or () if not pattern.lower().startswith(FOLDER)]
        names = names_of(option) if patterns else None
        for pattern in patterns if names is not None else ():
            try:
                select(kind, names or (), [pattern], dict.fromkeys(groups, names or ()))
            except UserError as error:
                if option == "--datasets" and expand_user(Path(pattern)).is_dir():
                    raise UserError(f"no {kind} matches {pattern!r}; did you mean {FOLDER}{pattern}?") from error
                raise


def names_of(option: str) -> list[str] | None:
    """Names that `option` selects from, parsed from source like `names_in_source`."""
    return names_in_source(Path(__file__).parent.parent / _REGISTRIES[option][1])


_REGISTRIES = {  # by option: kind of name, package, groups
    "--methods": ("method", "methods", METHOD_GROUPS),
    "--datasets": ("dataset", "data/datasets", (ALL,)),
    "--probes": ("probe", "eval/probes", (ALL,)),
}
