"""Plan of a grid: resolves the options into runs and validates each of them."""

import logging
import os
import re
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

import torch

import backbones
from backbones.precision import has_tf32
from core.errors import UserError, first_line
from core.files import check_folder
from core.registry import FOLDER
from core.words import counted
from data.benchmark import BALANCED, BENCHMARKS, Benchmark, MissingData
from data.cache import DataCache
from data.lists.longtail import Indices
from data.pools.pool import POOLS, best_pool, check_pool
from data.root import data_folder
from data.views.backend import choose_backend
from grid.changes import changes_of, without_setting
from grid.option_values import GPUS
from grid.options import GridOptions, check_positive
from methods import METHODS, Method
from parallel import processes
from probing.selection import allowed_probes, needed_lists
from run_store.folder import RunFolder, State, folder_of
from training.compiled import check_compilable
from training.config import RunConfig, default_hparams, resolve
from training.device import choose_device, choose_precision, has_bf16, memory_bytes
from training.loggers import check_loggers
from training.monitor import LISTS as MONITORED
from training.optimizer import training_bytes
from training.prepare import build_method, check_pool_size

log = logging.getLogger(__name__)
AUTO_POOL = re.compile(r"(.*\.)?pool=auto")  # argument of --set
PROCESS_BYTES = 3 * 10**9  # memory per process, which limits the default of --jobs


@dataclass(frozen=True)
class Plan:
    """Runs of a grid, their probes, device and data."""

    out: Path  # folder of the run folders
    runs: list[RunFolder]
    probes: dict[str, list[str]]  # by dataset: those whose index lists it has
    preset: str
    preset_reason: str
    device: torch.device
    views: str  # augmentation backend of each dataset with the reason of its choice, as text
    data: DataCache
    cores: int  # CPU threads that this process may use
    requested_jobs: int | None = None  # --jobs, or the number of GPUs
    requested_threads: int | None = None  # --workers
    on_gpus: bool = False  # whether each of several processes has a GPU of its own
    monitored: bool = False  # whether kNN accuracy is computed during training
    monitor_every: int | None = None  # epochs between evaluations; None: a twentieth of the run
    compiled: bool = False  # whether networks are compiled
    loggers: tuple[str, ...] = ()  # of the scalars of each epoch

    @cached_property
    def states(self) -> list[State]:
        """State of each run, cached as all records are read."""
        return [run.state(self.probes[run.config.dataset]) for run in self.runs]

    @property
    def unfinished(self) -> list[int]:
        """Indices of the runs that are not DONE; failed ones last, as an error of one of several processes ends the grid."""
        left = [number for number, state in enumerate(self.states) if state != "DONE"]
        return sorted(left, key=lambda number: self.states[number] == "FAILED")

    @cached_property
    def parallelism(self) -> tuple[int, int]:
        """Number of processes that execute the unfinished runs, and CPU threads of each."""
        requested = (self.requested_jobs if processes.count() == 1 else 1, self.requested_threads)
        return choose_parallelism(*requested, self.cores, self.device, self.preset, len(self.unfinished), memory_bytes())

    def needs(self, dataset: str) -> frozenset[str]:
        """Names of the index lists that training on a benchmark and its probes use."""
        profiles = {run.config.profile for run in self.runs if run.config.dataset == dataset}
        probes = needed_lists(self.probes[dataset], self.data.benchmark(dataset).missing_lists(self.data.root))
        monitor = set(MONITORED) if self.monitored else set()
        return probes | {"pretrain", "test"} | ({BALANCED} & profiles) | monitor

    def load_data(self) -> None:
        """Loads the images of all unfinished runs; downloads missing ones. Raises UserError if they are not available."""
        for dataset in dict.fromkeys(self.runs[number].config.dataset for number in self.unfinished):
            self.data.load(dataset, self.needs(dataset))

    def check_sizes(self) -> None:
        """Raises UserError for an unfinished run whose pretraining list is smaller than a batch; skips those without data.

        Declared sizes were checked when the configuration was resolved.
        """
        for config in (self.runs[number].config for number in self.unfinished):
            benchmark = self.data.benchmark(config.dataset)
            if not benchmark.size(config.profile):
                with suppress(MissingData):
                    check_size(config, benchmark, self.data.labels(config.dataset)[0])

    @cached_property
    def passports(self) -> list[str]:
        """Text on the data: a line for each variant of each dataset. Downloads nothing.

        Raises:
            UserError: data on disk is damaged or contradictory.
        """
        splits: dict[tuple[str, str], dict[int, None]] = {}
        for config in (run.config for run in self.runs):
            splits.setdefault((config.dataset, config.profile), {})[config.split] = None
        return [self.data.line(*key, numbers, self.needs(key[0])) for key, numbers in splits.items()]


def make_plan(options: GridOptions, device: torch.device | None = None, count: int | None = None) -> Plan:
    """Resolves the options into a plan.

    Args:
        options: those of the command.
        device: device of training, which may be that of another machine; None: chosen on this machine by --device.
        count: number of processes that train a run together; None: that of this process's group.

    Raises:
        UserError: the first invalid option or run.
    """
    check_folder(options.out, "--out")
    if options.data_root is not None:
        check_folder(options.data_root, "--data-root")
    check_positive("--jobs", None if options.jobs == GPUS else options.jobs)
    check_positive("--workers", options.workers)
    if processes.count() > 1 and options.jobs is not None:
        raise UserError("--jobs has no effect under torchrun, whose processes train one run after another; omit the option")
    for option in ("methods", "datasets", "splits", "seeds"):
        if not getattr(options, option):
            raise UserError(f"--{option} is empty; give at least one value, or omit the option")
    for seed in options.seeds:
        if not 0 <= seed < 2**63:
            raise UserError(f"--seeds {seed} is out of range; give seeds from 0 to {2**63 - 1}")
    device = device or choose_device(options.device)
    jobs = count_gpus(device) if options.jobs == GPUS else options.jobs
    preset, preset_reason = choose_preset(options.preset, device)
    precision = choose_precision(options.precision, preset, device)
    data_root = data_folder(options.data_root)
    methods = METHODS.select(options.methods)
    datasets = BENCHMARKS.select(options.datasets)
    for method in methods if options.compile else ():
        check_compilable(METHODS[method], count or processes.count())
    given = changes_of(options, methods)
    for line in without_setting(options, methods):
        log.warning(line)
    probes = {dataset: allowed_probes(dataset, options.probes, data_root) for dataset in datasets}
    changes = {}
    for method, dataset in product(methods, datasets):
        own = given.hparams.get(method, {})
        changes[method, dataset] = own | _pool(method, dataset, preset, own, data_root)
    backends = {
        dataset: choose_backend(options.views, in_files=BENCHMARKS[dataset].in_files, device=device) for dataset in datasets
    }
    configs = [
        resolve(
            method=method,
            dataset=dataset,
            profile=profile,
            split=split,
            seed=seed,
            preset=preset,
            precision=precision,
            recipe_changes=given.recipe,
            hparam_changes=changes[method, dataset],
            executor=backends[dataset][0],
        )
        for dataset in datasets
        for profile, split, seed, method in product(
            _profiles(dataset, options.variants), dict.fromkeys(options.splits), dict.fromkeys(options.seeds), methods
        )
    ]
    for config in {(config.method, config.dataset, config.recipe): config for config in configs}.values():
        _check_processes(config, count or processes.count())
        _check_network(config, device)
        pool = config.hparams.get("pool", "")
        if pool in POOLS:
            check_pool_size(config, POOLS[pool].count)
    runs = [folder_of(options.out, config) for config in configs]
    views = "; ".join(f"{name} for {dataset} ({why})" for dataset, (name, why) in backends.items())
    monitored = _monitored(options, datasets, data_root)
    data = DataCache(data_root)
    if not any(config.recipe.epochs for config in configs):
        _check_untrained(options)
    check_loggers(options.log)
    loggers = tuple(dict.fromkeys(options.log))
    rest = (jobs, options.workers, options.jobs == GPUS, monitored, options.monitor_every, options.compile, loggers)
    return Plan(options.out, runs, probes, preset, preset_reason, device, views, data, available_cores(), *rest)


def resolved_options(options: GridOptions, plan: Plan) -> GridOptions:
    """Options that give the runs of a plan on any machine: its choices in place of groups, globs and `auto`.

    `device`, `jobs` and `workers` stay, as no run id depends on them. So does the pool of a method that has another one on each
    benchmark, for which there is no option.

    Args:
        options: of the plan.
        plan: from `make_plan`.
    """
    configs = [run.config for run in plan.runs]
    datasets = [
        name
        for pattern in options.datasets
        for name in ([pattern] if pattern.lower().startswith(FOLDER) else BENCHMARKS.select([pattern]))
    ]
    backends = {BENCHMARKS[config.dataset].in_files: config.executor for config in configs}
    given = changes_of(options, METHODS.select(options.methods)).hparams
    pools: dict[str, set[tuple[str, ...]]] = {}
    for config in configs:
        own = given.get(config.method, {})
        if config.hparams.get("pool") and own.get("pool", "auto") == "auto":
            defaults = default_hparams(config.method, config.dataset, config.preset)
            reduced = "budget" not in own and config.hparams["budget"] != defaults.budget
            keys = ("pool", "budget") if reduced else ("pool",)
            pools.setdefault(config.method, set()).add(tuple(f"{config.method}.{key}={config.hparams[key]}" for key in keys))
    chosen = [text for values in pools.values() if len(values) == 1 for text in next(iter(values))]
    return replace(
        options,
        methods=list(dict.fromkeys(config.method for config in configs)),
        datasets=list(dict.fromkeys(datasets)),
        preset=plan.preset,  # type: ignore[arg-type]  # one of the names
        precision=configs[0].precision,  # type: ignore[arg-type]
        views="+".join(dict.fromkeys(backends[in_files] for in_files in sorted(backends))),
        set=[*(text for text in options.set if not AUTO_POOL.fullmatch(text)), *chosen],
    )


def check_size(config: RunConfig, benchmark: Benchmark, labels: Indices) -> None:
    """Raises UserError if the pretraining list is missing or smaller than a batch; its size can depend on files on disk."""
    size = len(benchmark.lists(labels, config.profile, config.split).pretrain)
    if config.recipe.batch_size > size:
        raise UserError(
            f"batch size {config.recipe.batch_size} is larger than {config.dataset}'s {counted(size, 'image')}; "
            "lower --batch-size"
        )


def count_gpus(device: torch.device) -> int:
    """Number of GPUs for --jobs gpus. Raises UserError if the device is not `cuda` without a number."""
    if device.type != "cuda" or device.index is not None:
        raise UserError(f"--jobs gpus needs all CUDA GPUs, but the device is {device}; omit --device, and see `doctor`")
    return torch.cuda.device_count()


def available_cores() -> int:
    """CPU threads that this process may use: torch's default, or under torchrun an equal share of the machine's cores."""
    if processes.count() == 1:
        return torch.get_num_threads()
    return max(1, len(os.sched_getaffinity(0)) // processes.local_count())  # torchrun sets torch's default to 1


def _check_processes(config: RunConfig, count: int) -> None:
    """Raises UserError for a run that `count` processes cannot train together."""
    method = METHODS[config.method]
    if count > 1 and method.loss is not Method.loss:
        raise UserError(
            f"{config.method} overrides `loss` and cannot be trained by {count} processes; define `encode` and `objective` "
            "instead, or start it without torchrun"
        )
    if config.recipe.batch_size < count:
        raise UserError(f"batch size {config.recipe.batch_size} is smaller than the number of processes, {count}; raise it")


def _monitored(options: GridOptions, datasets: Sequence[str], data_root: Path) -> bool:
    """Whether the kNN monitor is enabled. Raises UserError for invalid options, or if a benchmark lacks the index lists."""
    check_positive("--monitor-every", options.monitor_every)
    if options.monitor == "none":
        if options.monitor_every is not None:
            raise UserError("--monitor-every has no effect without --monitor knn")
        return False
    for dataset in datasets:
        if lacking := " and ".join(need for need in MONITORED if need in BENCHMARKS[dataset]().missing_lists(data_root)):
            raise UserError(f"--monitor {options.monitor} needs a {lacking} list, which {dataset} lacks; omit the option")
    return True


def _check_untrained(options: GridOptions) -> None:
    """Raises UserError for options that only training uses."""
    for option, given in (
        ("--compile", options.compile),
        ("--monitor knn", options.monitor != "none"),
        ("--log", bool(options.log)),
    ):
        if given:
            raise UserError(f"{option} has no effect on runs of 0 epochs; omit the option")


def choose_preset(preset: str, device: torch.device) -> tuple[str, str]:
    """Resolves `auto`; returns the name of the preset and the reason."""
    if preset != "auto":
        return preset, "set by --preset"
    if device.type == "cuda":
        return "paper", "auto: GPU available"
    return "cpu", "auto: no GPU; give --preset paper for the protocol of the papers"


def choose_parallelism(
    jobs: int | None, threads: int | None, cores: int, device: torch.device, preset: str, runs: int, memory: int | None
) -> tuple[int, int]:
    """Chooses the number of processes and the CPU threads of each: (jobs, threads), each at least 1.

    On a CPU, two processes of one thread train as fast as one of two threads, and are slowed less by other load. The smoke
    preset uses one process, as starting more takes as long as they would save.

    Args:
        jobs: --jobs, or None.
        threads: --workers, or None.
        cores: CPU threads that this process may use.
        device: device of training.
        preset: name of the preset.
        runs: number of runs to execute.
        memory: of the machine, in bytes; None: unknown.
    """
    if jobs is None:
        jobs = 1 if device.type == "cuda" or preset == "smoke" else cores // (threads or 1)
        jobs = jobs if memory is None else min(jobs, memory // PROCESS_BYTES)
    jobs = max(1, min(jobs, runs))
    return jobs, threads or max(1, cores // jobs)


def _profiles(dataset: str, names: Sequence[str]) -> list[str]:
    """Profiles of variants without duplicates; the default of the benchmark if `names` is empty."""
    benchmark = BENCHMARKS[dataset]()
    return list(dict.fromkeys(map(benchmark.profile, names))) or [benchmark.profile(None)]


def with_states(plan: Plan) -> Plan:
    """The plan with the states of its runs, so that all processes that receive it have those that one process has read."""
    _ = plan.states  # cached in the plan
    return plan


def _pool(method: str, dataset: str, preset: str, changes: Mapping[str, Any], data_root: Path) -> dict[str, Any]:
    """Resolves the OOD pool of a method that uses one, so that it is named in configuration, records and tables.

    If neither pool nor budget is set, and the best available pool is smaller than the budget, the budget is half of the pool:
    sampling needs candidates to reject.
    """
    defaults = default_hparams(method, dataset, preset)
    if "pool" not in {field.name for field in fields(defaults)}:
        return {}
    pool = changes.get("pool", "auto")
    own = BENCHMARKS[dataset].own_pools
    if pool in own:
        raise UserError(f"{method}.pool={pool}: {dataset} consists of the same images; choose another pool, or auto")
    if pool != "auto":
        check_pool(pool)
        return {"pool": pool}
    name = best_pool(data_root, without=own, order=BENCHMARKS[dataset].pools)
    count = POOLS[name].count
    if "budget" in changes or defaults.budget <= count:
        return {"pool": name}
    log.warning(
        "%s.budget is %d, not %d: %s, the best available pool, has %d images; choose another with --set %s.pool=...",
        *(method, count // 2, defaults.budget, name, count, method),
    )
    return {"pool": name, "budget": count // 2}


def _check_network(config: RunConfig, device: torch.device) -> None:
    """Builds the method and runs its network on the meta device.

    Raises:
        UserError: the network does not support the images, or the memory of `device` is too small.
    """
    benchmark = BENCHMARKS[config.dataset]
    _check_sizes(config.recipe.backbone, benchmark.image_size, {benchmark.image_size, *config.recipe.sizes})
    with torch.device("meta"):
        method = build_method(config, config.recipe.batch_size)
    views = {role.on(benchmark.view) for role in method.views}
    if others := {view.side(size) for view in views for size in config.recipe.sizes} - set(config.recipe.sizes):
        _check_sizes(config.recipe.backbone, benchmark.image_size, others)
    needed, available = training_bytes(method, config.recipe.optimizer), memory_bytes(device)
    if available is not None and needed > available:
        raise UserError(
            f"{config.label} needs at least {needed / 1e9:,.0f} GB of memory for weights, gradients and optimiser state, and "
            f"{device} has {available / 1e9:,.0f} GB; choose a smaller backbone or smaller layers"
        )


def _check_sizes(backbone: str, image_size: int, sides: Collection[int]) -> None:
    """Runs the backbone for images of `image_size` px on images of `sides`. Raises UserError for a side it does not support."""
    side = image_size
    try:
        with torch.device("meta"), torch.no_grad():
            network = backbones.create(backbone, image_size).eval()
            for side in sides:
                network(torch.zeros(2, 3, side, side))
    except UserError:
        raise
    except Exception as error:  # networks raise various exceptions for unsupported image sizes
        raise UserError(
            f"backbone {backbone!r} does not support images of {side} px ({first_line(error)}); choose another"
        ) from error


def plan_text(plan: Plan, parallelism: str | None = None) -> str:
    """Text of `plan`: settings, one line per run (with the variant if there are several), and the data.

    Args:
        plan: the runs.
        parallelism: text on the processes that execute the runs; None: those of this machine.
    """
    several = len({(run.config.dataset, run.config.profile) for run in plan.runs}) > len(plan.probes)
    precision = plan.runs[0].config.precision
    if precision == "fp32" and plan.preset != "paper" and not has_bf16(plan.device):
        precision += " (no bfloat16 arithmetic on this device; it would about halve the time of a step)"
    elif precision == "fp32" and has_tf32(plan.device):
        precision += " (--precision tf32 is faster on this device)"
    jobs, threads = plan.parallelism
    processes_of = f"{jobs} processes{', one per GPU,' if plan.on_gpus else ''} of " if jobs > 1 else ""
    parallelism = parallelism or f"{processes_of}{counted(threads, 'thread')}"
    return "\n".join(
        [
            f"preset {plan.preset} ({plan.preset_reason}); device {plan.device}, {parallelism}, {precision}; "
            f"views: {plan.views}; {counted(len(plan.runs), 'run')}:",
            *(
                f"{state:9}  {run.path.name}" + (f"  variant {run.config.variant}" if several else "")
                for run, state in zip(plan.runs, plan.states, strict=True)
            ),
            *plan.passports,
        ]
    )
