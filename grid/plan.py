"""From a request to the runs it means, each resolved and checked before anything starts."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch

import backbones
from core.errors import UserError, first_line, nearest
from data.benchmark import BALANCED, BENCHMARKS, data_folder
from data.cache import DataCache
from data.lists.holdout import EMPTY, FileIndexLists
from data.lists.merge import TRAINING
from data.pools.pool import POOLS, best_pool, check_pool
from data.views.backend import choose_backend
from eval.probes import PROBES
from grid.options import Request, check_positive
from methods import METHODS
from probing.selection import allowed_probes
from run_store.folder import RunFolder, State, folder_of
from training.config import RunConfig, default_hparams, resolve
from training.device import choose_device, choose_precision, has_bf16, memory_bytes
from training.monitor import LISTS as MONITORED
from training.prepare import build_method, check_pool_size

log = logging.getLogger(__name__)
PROCESS_BYTES = 3 * 10**9  # of memory for each process that is started unless a number is asked for


@dataclass(frozen=True)
class Plan:
    """What will run, and on what."""

    runs: list[RunFolder]
    probes: dict[str, list[str]]  # of each dataset: those that its index lists allow
    preset: str
    why_preset: str
    device: torch.device
    views: str  # augmentation backend of each dataset and the reason, for people
    data: DataCache
    cores: int  # processor threads that this process may use
    asked_jobs: int | None = None  # processes that share the runs
    asked_threads: int | None = None  # processor threads of each
    monitored: bool = False  # whether features are looked at during training
    monitor_every: int | None = None  # epochs between looks; None: a twentieth of the run

    @cached_property
    def states(self) -> list[State]:
        """The state of each run when it was first asked for; every record is read for it, so only once."""
        return [run.state(self.probes[run.config.dataset]) for run in self.runs]

    @property
    def unfinished(self) -> list[int]:
        """Numbers of the runs that are not DONE."""
        return [number for number, state in enumerate(self.states) if state != "DONE"]

    @cached_property
    def shares(self) -> tuple[int, int]:
        """Processes that share the unfinished runs, and the processor threads of each."""
        asked = (self.asked_jobs, self.asked_threads)
        return share_cores(*asked, self.cores, self.device, self.preset, len(self.unfinished), memory_bytes())

    def needs(self, dataset: str) -> frozenset[str]:
        """The index lists that training on a benchmark and its probes use, by their names."""
        profiles = {run.config.profile for run in self.runs if run.config.dataset == dataset}
        absent = self.data.benchmark(dataset).missing_lists(self.data.root)
        some = np.zeros(1, dtype=np.int64)  # stands for any list that is not empty: probes say by these what they look at
        lists = FileIndexLists(**{role: EMPTY if role in absent else some for role in TRAINING})
        probes = {
            need for probe in self.probes[dataset] for need in (*PROBES[probe].needs, *PROBES[probe].feature_lists(lists))
        }
        monitor = set(MONITORED) if self.monitored else set()
        return frozenset(probes | {"pretrain", "test"} | ({BALANCED} & profiles) | monitor)

    @cached_property
    def passports(self) -> list[str]:
        """The data of the plan for people, a line for each profile of each dataset; nothing is fetched.

        Raises:
            UserError: something that is there is damaged or contradictory.
        """
        splits: dict[tuple[str, str], dict[int, None]] = {}
        for config in (run.config for run in self.runs):
            splits.setdefault((config.dataset, config.profile), {})[config.split] = None
        return [self.data.line(*which, numbers, self.needs(which[0])) for which, numbers in splits.items()]


def make_plan(request: Request) -> Plan:
    """Resolves a request. Raises UserError for the first thing in it that cannot be run."""
    check_positive("--jobs", request.jobs)
    check_positive("--workers", request.workers)
    for option in ("methods", "datasets", "splits", "seeds"):
        if not getattr(request, option):
            raise UserError(f"--{option} names nothing; give at least one, or leave the option out")
    device = choose_device(request.device)
    preset, why_preset = choose_preset(request.preset, device)
    precision = choose_precision(request.precision, preset, device)
    data_root = data_folder(request.data_root)
    methods = METHODS.select(request.methods, everything=[name for name, method in METHODS if method.suite])
    datasets = BENCHMARKS.select(request.datasets, everything=[name for name, b in BENCHMARKS if b.suite])
    recipe_changes, hparam_changes = _parse_sets(request.set, methods)
    for option, value in (("backbone", request.backbone), ("epochs", request.epochs), ("batch_size", request.batch_size)):
        if value is not None:
            recipe_changes[option] = value
    probes = {dataset: allowed_probes(dataset, request.probes, data_root) for dataset in datasets}
    changes = {}
    for method, dataset in product(methods, datasets):
        asked = hparam_changes.get(method, {})
        changes[method, dataset] = asked | _pool(method, dataset, preset, asked, data_root)
    backends = {
        dataset: choose_backend(request.views, in_files=BENCHMARKS[dataset].in_files, device=device) for dataset in datasets
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
            recipe_changes=recipe_changes,
            hparam_changes=changes[method, dataset],
            executor=backends[dataset][0],
        )
        for dataset in datasets
        for profile, split, seed, method in product(
            _profiles(dataset, request.profiles), dict.fromkeys(request.splits), dict.fromkeys(request.seeds), methods
        )
    ]
    for config in {(config.method, config.dataset, config.recipe): config for config in configs}.values():
        _check_network(config)
        pool = config.hparams.get("pool", "")
        if pool in POOLS:
            check_pool_size(config, POOLS[pool].count)
    runs = [folder_of(request.out, config) for config in configs]
    for run in runs:
        run.check()
    views = "; ".join(f"{name} for {dataset} ({why})" for dataset, (name, why) in backends.items())
    monitored = _monitored(request, datasets, data_root)
    data, cores = DataCache(data_root), torch.get_num_threads()
    shared = (cores, request.jobs, request.workers)
    return Plan(runs, probes, preset, why_preset, device, views, data, *shared, monitored, request.monitor_every)


def _monitored(request: Request, datasets: Sequence[str], data_root: Path) -> bool:
    """Whether the features are looked at during training. Raises UserError where a benchmark lacks the lists for it."""
    if request.monitor_every is not None and request.monitor_every < 1:
        raise UserError(f"--monitor-every {request.monitor_every}: give at least 1 epoch")
    if request.monitor == "none":
        if request.monitor_every is not None:
            raise UserError("--monitor-every says how often; say what with --monitor knn")
        return False
    for dataset in datasets:
        if lacking := " and ".join(need for need in MONITORED if need in BENCHMARKS[dataset]().missing_lists(data_root)):
            raise UserError(f"--monitor {request.monitor} needs a {lacking} list, which {dataset} lacks; leave it out")
    return True


def choose_preset(wanted: str, device: torch.device) -> tuple[str, str]:
    """The preset's name and why it was taken."""
    if wanted != "auto":
        return wanted, "as asked"
    if device.type == "cuda":
        return "paper", "auto: there is a GPU"
    return "cpu", "auto: no GPU, so CPU-scale numbers; give --preset paper for the papers' protocol"


def share_cores(
    jobs: int | None, threads: int | None, cores: int, device: torch.device, preset: str, runs: int, memory: int | None
) -> tuple[int, int]:
    """How many processes share the runs, and the threads of each: (jobs, threads), each at least 1.

    On a CPU two processes of one thread train as fast as one of two threads, and are slowed less by other work on the machine.
    The smoke preset has one process: starting more takes as long as they would save.

    Args:
        jobs: as asked, or None.
        threads: of each process, as asked, or None.
        cores: processor threads that this process may use.
        device: where to train.
        preset: the scale.
        runs: how many are to be run.
        memory: of the machine, in bytes; None: unknown.
    """
    if jobs is None:
        jobs = 1 if device.type == "cuda" or preset == "smoke" else cores // (threads or 1)
        jobs = jobs if memory is None else min(jobs, memory // PROCESS_BYTES)
    jobs = max(1, min(jobs, runs))
    return jobs, threads or max(1, cores // jobs)


def _parse_sets(sets: Sequence[str], methods: Sequence[str]) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Splits `METHOD.KEY=VALUE` and `recipe.KEY=VALUE` into changes to the recipe and to each method."""
    recipe: dict[str, Any] = {}
    hparams: dict[str, dict[str, Any]] = {}
    for text in sets:
        target, equals, value = text.partition("=")
        owner, dot, key = target.partition(".")
        if not (equals and dot and key):
            raise UserError(f"--set {text} is not of the form METHOD.KEY=VALUE or recipe.KEY=VALUE")
        if owner == "recipe":
            recipe[key] = value
        elif owner in methods:
            hparams.setdefault(owner, {})[key] = value
        elif owner in METHODS:
            raise UserError(f"--set {text}: method {owner!r} is not among --methods {' '.join(methods)}")
        else:
            raise UserError(f"--set {text}: no method is named {owner!r}{nearest(owner, [*METHODS.names(), 'recipe'])}")
    return recipe, hparams


def _profiles(dataset: str, asked: Sequence[str]) -> list[str]:
    """The profiles asked for, each once and in its one spelling; the benchmark's first where none is."""
    benchmark = BENCHMARKS[dataset]()
    return list(dict.fromkeys(map(benchmark.profile, asked))) or [benchmark.profile(None)]


def _pool(method: str, dataset: str, preset: str, changes: Mapping[str, Any], data_root: Path) -> dict[str, Any]:
    """The pool that a method which draws on one will use, so that configuration, records and tables name it.

    Where the user chose neither pool nor budget, and the best pool that is there is smaller than the budget, half of it is
    drawn: a sample has to leave something out.
    """
    defaults = default_hparams(method, dataset, preset)
    if "pool" not in {field.name for field in fields(defaults)}:
        return {}
    asked = changes.get("pool", "auto")
    own = BENCHMARKS[dataset].own_pools
    if asked in own:
        raise UserError(f"{method}.pool={asked}: {dataset} is made of the same images; take another pool, or leave it to auto")
    if asked != "auto":
        check_pool(asked)
        return {"pool": asked}
    name = best_pool(data_root, without=own, order=BENCHMARKS[dataset].pools)
    count = POOLS[name].count
    if "budget" in changes or defaults.budget <= count:
        return {"pool": name}
    log.warning(
        "%s samples %d images at a time, not %d: the best pool there is, %s, has %d; for another: --set %s.pool=...",
        *(method, count // 2, defaults.budget, name, count, method),
    )
    return {"pool": name, "budget": count // 2}


def _check_network(config: RunConfig) -> None:
    """Builds and runs the method without memory or computation, so that a network that does not fit is refused beforehand."""
    name = config.recipe.backbone
    image_size = size = BENCHMARKS[config.dataset].image_size
    try:
        with torch.device("meta"), torch.no_grad():
            network = backbones.create(name, image_size).eval()
            for size in {image_size, *config.recipe.sizes}:
                network(torch.zeros(2, 3, size, size))
    except UserError:
        raise
    except Exception as error:  # whatever a network can raise at a size that it was not made for
        raise UserError(f"backbone {name!r} cannot take images of {size} px ({first_line(error)}); choose another") from error
    with torch.device("meta"):
        build_method(config, config.recipe.batch_size)


def plan_text(plan: Plan) -> str:
    """The plan for people: how it is run, a line for each run, and the data; the profile where there are several."""
    several = len({(run.config.dataset, run.config.profile) for run in plan.runs}) > len(plan.probes)
    precision = plan.runs[0].config.precision
    if precision == "fp32" and plan.preset != "paper" and not has_bf16(plan.device):
        precision += " (no bfloat16 units here: with them a step takes about half of the time)"
    jobs, threads = plan.shares
    shared = (f"{jobs} processes of " if jobs > 1 else "") + f"{threads} thread{'' if threads == 1 else 's'}"
    return "\n".join(
        [
            f"preset {plan.preset} ({plan.why_preset}); device {plan.device}, {shared}, {precision}; views: {plan.views}; "
            f"{len(plan.runs)} runs:",
            *(
                f"{state:9}  {run.path.name}" + (f"  profile {run.config.profile}" if several else "")
                for run, state in zip(plan.runs, plan.states, strict=True)
            ),
            *plan.passports,
        ]
    )
