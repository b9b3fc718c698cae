"""Executes a plan: trains and probes unfinished runs."""

import logging
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray

from core.errors import ProcessEnded, UserError, is_out_of_memory, memory_message
from core.files import removed, write_text
from core.words import counted
from data.benchmark import BENCHMARKS
from data.pools.pool import Pool, load_pool
from data.split import Split
from eval.tail import describe_state, tail_detection
from grid.activity import TrainingMeter
from grid.data_check import warn_of_changed_data
from grid.plan import Plan, check_size
from grid.workers import WorkerCrash, parallel_map
from parallel import processes
from probing.probe import probe_run
from run_store.class_quantiles import save_class_quantiles
from run_store.folder import RunFolder, TrainingFacts
from run_store.lease import Activity, Busy, LeaseLost, file_clock, is_busy
from run_store.states import failure, save_grid
from training.collapse import CollapseMonitor, find_warnings
from training.compiled import compile_networks
from training.config import RunConfig
from training.device import device_name, peak_memory_mb, reset_peak_memory, use_device, use_threads
from training.loggers import open_loggers, scalars
from training.loop import Diverged, StepStats, train
from training.monitor import KnnMonitor
from training.prepare import Training, check_pool_size, prepare
from training.progress import training_bar
from training.signals import stop_requests

log = logging.getLogger(__name__)
BUSY_SECONDS = 10.0  # between checks of the runs of other workers


def execute(plan: Plan, checkpoint_seconds: float, order: Sequence[int]) -> Iterator[tuple[RunFolder, str | None]]:
    """Trains and probes runs of the plan; yields each run when it ends, with None or the reason of its failure.

    The traceback of a failed run is written to `error.txt`, and execution continues. Runs of other workers are skipped and
    tried again until they are done or have failed; those whose worker has ended are resumed. A run that fails in another worker
    after this function began is yielded with its reason. With several jobs, worker processes run in parallel; the weights of a
    run are bit-identical to those from one process with as many threads.

    Args:
        plan: the runs.
        checkpoint_seconds: seconds between checkpoints of a run.
        order: indices of the runs to execute, in starting order.

    Raises:
        UserError: the data of a run is not available; no run has been started.
        KeyboardInterrupt: a stop signal arrived; current runs have saved a checkpoint.
    """
    runner = _Runner(plan, checkpoint_seconds, processes.from_main(lambda: file_clock(plan.out)))
    processes.from_main(lambda: runner.check_data(order))  # downloads; the other processes read the files afterwards
    if order:
        processes.from_main(lambda: save_grid(plan.out, {r.path.name: plan.probes[r.config.dataset] for r in plan.runs}))
    warn_of_changed_data([run for run, state in zip(plan.runs, plan.states, strict=True) if state == "DONE"], plan.data)
    waiting, announced = list(order), 0
    while waiting:
        busy = processes.from_main(partial(_busy, plan, waiting))
        for number, result in _execute_once(plan, [number for number in waiting if number not in busy], runner):
            if isinstance(result, Busy):
                busy.append(number)
            else:
                yield plan.runs[number], result
        if len(busy) == len(waiting):
            if len(busy) != announced:
                first = processes.from_main(partial(is_busy, plan.runs[busy[0]].path))
                what = f"{counted(len(busy), 'run')}"
                log.info("waiting for %s of other workers%s", what, f"; the first: {first}" if first else "")
            announced = len(busy)
            time.sleep(BUSY_SECONDS)
        waiting = sorted(busy, key=order.index)


def _busy(plan: Plan, numbers: Sequence[int]) -> list[int]:
    """Those of the runs that other workers execute, in their order."""
    return [number for number in numbers if is_busy(plan.runs[number].path)]


def check_data(plan: Plan) -> None:
    """Loads the data and OOD pools of the unfinished runs, as `execute` does first; downloads missing ones.

    Raises UserError if a run cannot start.
    """
    _Runner(plan, checkpoint_seconds=0.0, started=0.0).check_data(plan.unfinished)


def _execute_once(plan: Plan, numbers: Sequence[int], runner: "_Runner") -> Iterator[tuple[int, "str | Busy | None"]]:
    """Executes runs, in worker processes if the plan has several jobs; yields the index and the result of `_Runner`."""
    jobs, threads = plan.parallelism
    if jobs == 1:
        for place, number in enumerate(numbers, start=1):
            log.info("[%d/%d] %s", place, len(numbers), plan.runs[number].config.label)
            yield number, runner(number)
        return
    start = partial(_start_worker, threads, None if plan.on_gpus else plan.device)
    for number, result in parallel_map(numbers, runner.without_pools(), jobs, start):
        if isinstance(result, WorkerCrash):
            result = _save_crash(plan.runs[number], plan.probes[plan.runs[number].config.dataset], result.reason)
        yield number, result


def _start_worker(threads: int, device: torch.device | None, worker: int) -> None:
    """Prepares a worker process, numbered from 0, for a device; None: the GPU of its number."""
    use_threads(threads)
    use_device(torch.device("cuda", worker) if device is None else device)


class _FailedInOtherWorker(UserError):
    """Another worker has executed the run, which failed."""


class _Runner:
    """Executes runs of a plan by index; caches loaded OOD pools. `started`: its beginning by `file_clock`."""

    def __init__(self, plan: Plan, checkpoint_seconds: float, started: float):
        self._plan, self._checkpoint_seconds, self._started = plan, checkpoint_seconds, started
        self._pools: dict[tuple[str | None, int | None], Pool | None] = {}

    def without_pools(self) -> "_Runner":
        """A copy without loaded OOD pools, for pickling."""
        return _Runner(self._plan, self._checkpoint_seconds, self._started)

    def __call__(self, number: int) -> str | Busy | None:
        """Trains and probes one run. Returns None, the reason of its failure, or Busy if another worker executes the run."""
        with ExitStack() as held:  # until the error of a failed run is written
            result = self._execute(self._plan.runs[number], held)
        return processes.from_main(lambda: result)  # only the main process has a lease to lose

    def _execute(self, run: RunFolder, held: ExitStack) -> str | Busy | None:
        try:
            self._execute_run(run, held)
        except Exception as error:  # a failed run must not stop the grid
            if isinstance(error, Busy):
                level = logging.WARNING if isinstance(error, LeaseLost) else logging.INFO
                log.log(level, "%s is skipped for now: %s", run.config.label, error)
                return error
            if isinstance(error, _FailedInOtherWorker):
                return str(error)
            if processes.lost_another(error):
                raise
            text = traceback.format_exc()
            if isinstance(error, UserError | Diverged):
                reason = str(error)
            elif is_out_of_memory(error):
                reason = memory_message(error)
                text += reason + "\n"
            else:
                reason = f"{type(error).__name__}: {error}; see {run.error}"
            alike = isinstance(error, Diverged) or processes.in_all(error)  # in all processes
            if processes.is_main() or not alike:
                _save_error(run, reason, text)
            if processes.count() > 1 and not alike:  # the other processes wait for this one
                place = f"process {processes.rank()} of {processes.count()}"
                raise ProcessEnded(f"{place} failed: {reason}; repeat the command to resume") from error
            return reason
        return None

    def _execute_run(self, run: RunFolder, held: ExitStack) -> None:
        """Trains and probes a run, if that is not done. Its lock is held until `held` is closed.

        Raises:
            Busy: another worker executes it, or has taken it over.
            _FailedInOtherWorker: it has failed since this worker started.
        """
        plan, config = self._plan, run.config

        def lock() -> Busy | None:
            nonlocal run
            try:
                run = held.enter_context(_lock(run))
            except Busy as error:
                return error
            return None

        busy = processes.from_main(lock)
        if busy is not None:
            raise busy
        if processes.from_main(lambda: run.is_done(plan.probes[config.dataset])):
            return
        failed = processes.from_main(lambda: failure(run.path))
        if failed is not None and failed[1] > self._started:
            raise _FailedInOtherWorker(failed[0])
        pool = self.pool(config)
        split = plan.data.split(config.dataset, config.profile, config.split, plan.needs(config.dataset))
        processes.from_main(lambda: run.begin(split.passport, pool.about if pool else None))
        training = prepare_run(config, split, pool, plan.device)
        if processes.from_main(run.trained):
            run.load_weights(training.method)
        else:
            monitor = KnnMonitor(split, plan.monitor_every) if plan.monitored else None
            if plan.compiled:
                compile_networks(training.method)
            _train(run, training, split, monitor, self._checkpoint_seconds, plan)
        if run.lease is not None:
            run.lease.describe = partial(Activity, "probing")
        probe_run(run, training, split, processes.from_main(lambda: run.missing(plan.probes[config.dataset])))
        processes.from_main(run.finish)

    def pool(self, config: RunConfig) -> Pool | None:
        """The OOD pool of a run, if any."""
        key = _pool_of(config)
        if key not in self._pools:
            self._pools[key] = pool_of_run(config, self._plan.data.root)
        return self._pools[key]

    def check_data(self, numbers: Sequence[int]) -> None:
        """Loads the data and OOD pools of all runs. Raises UserError if a run cannot start, before any run is started."""
        data = self._plan.data
        for config in (self._plan.runs[number].config for number in numbers):
            dataset = config.dataset
            labels = data.load(dataset, self._plan.needs(dataset)).train_labels
            check_size(config, data.benchmark(dataset), labels)
            pool = self.pool(config)
            if pool is not None:
                check_pool_size(config, len(pool.images))


def _lock(run: RunFolder) -> AbstractContextManager[RunFolder]:
    """Locks a run, whose folder is created. Raises Busy, or UserError if the folder of runs was removed."""
    out = run.path.parent
    if not out.exists():  # not created again: it may have been on a disk that is no longer mounted
        raise removed(out)
    run.create()
    return run.lock()


def _save_error(run: RunFolder, reason: str, text: str) -> None:
    """Logs the reason of a failure and writes `text` to the error file of the run."""
    log.error("%s failed: %s", run.config.label, reason)
    with suppress(UserError):  # the folder may not be writable; the reason is logged
        write_text(run.error, text)


def _save_crash(run: RunFolder, probes: Sequence[str], reason: str) -> str | Busy | None:
    """`_save_error` for a run whose process was killed. Returns the result of the run: another worker may have resumed it."""
    try:
        with _lock(run):
            if run.is_done(probes):
                return None
            _save_error(run, reason, reason)
    except Busy as error:
        return error
    except UserError:  # the folder may not be writable
        log.error("%s failed: %s", run.config.label, reason)
    return reason


def _pool_of(config: RunConfig) -> tuple[str | None, int | None]:
    """Name of the OOD pool of a run, if any, and the size of its images in px; None: original size, for image files."""
    benchmark = BENCHMARKS[config.dataset]
    return config.hparams.get("pool") if config.recipe.epochs else None, None if benchmark.in_files else benchmark.image_size


def pool_of_run(config: RunConfig, data_root: Path) -> Pool | None:
    """Loads the OOD pool of a run, if it has one. Raises UserError if the pool is damaged or cannot be downloaded."""
    name, size = _pool_of(config)
    return load_pool(name, size, data_root) if name else None


def prepare_run(config: RunConfig, split: Split, pool: Pool | None, device: torch.device) -> Training:
    """Builds a run at its initial state, on the images of its split and its OOD pool."""
    return prepare(
        config,
        split.pretrain_images,
        device,
        pool=None if pool is None else pool.images,
        labels=torch.from_numpy(split.pretrain_labels),
    )


def _train(
    run: RunFolder,
    training: Training,
    split: Split,
    monitor: KnnMonitor | None,
    checkpoint_seconds: float,
    plan: Plan,
) -> None:
    reset_peak_memory(training.device)
    tail, collapse = _analysis(run, split), CollapseMonitor()

    meter = TrainingMeter(training)
    if run.lease is not None:
        run.lease.describe = meter

    def analyse(training: Training, epoch: int) -> dict[str, Any]:
        found = tail(training) | collapse(training, epoch) | (monitor(training, epoch) if monitor else {})
        processes.from_main(run.check_lease)
        return found

    names = plan.loggers if processes.is_main() else ()
    with (
        training_bar(training, lambda: monitor.last if monitor else "") as bar,
        open_loggers(names, run.path, run.log, run.config) as log_scalars,
        stop_requests() as stop,
    ):

        def on_epoch(line: dict[str, Any]) -> None:
            log_scalars(line["epoch"], scalars(line))

        def on_step(step: StepStats) -> None:
            bar(step)
            meter.add(step)

        def stop_or_lost() -> bool:
            run.check_lease()
            return stop()

        progress = train(training, run.checkpoint, run.log, on_step, checkpoint_seconds, stop_or_lost, analyse, on_epoch)
        if processes.from_main(stop):  # during the last step, after which the run has been saved
            raise KeyboardInterrupt
    device = training.device
    last = processes.from_main(run.last_epoch)
    warnings = find_warnings(run.config, last.collapse if last else None, training.steps_before[-1])
    for warning in warnings:
        log.warning("%s: %s", run.config.label, warning)
    facts = TrainingFacts(
        seconds=progress.seconds,
        images=progress.images,
        peak_memory_mb=peak_memory_mb(device),
        device=device_name(device),
        unreadable=len(progress.unreadable),
        warnings=warnings,
        processes=processes.count(),
        compiled=plan.compiled,
    )
    processes.from_main(lambda: save_class_quantiles(run.path, _state(training), split.pretrain_labels, split.classes))
    processes.from_main(lambda: run.save_trained(training.method, facts))


def _analysis(run: RunFolder, split: Split) -> Callable[[Training], dict[str, Any]]:
    """Returns a function that computes the tail statistics of the log after each epoch, from labels unknown to the method."""
    labels, counts, group_counts, grouping = (
        split.pretrain_labels,
        split.class_counts,
        split.group_counts,
        split.benchmark.groups,
    )

    def analyse(training: Training) -> dict[str, Any]:
        scores = training.tail_scores.all_or_mean().numpy()
        processes.from_main(lambda: run.save_tail_scores(scores))
        found = describe_state(_state(training), labels, counts, grouping, group_counts)
        return {"tail": tail_detection(scores, labels, counts, grouping, group_counts), **found}

    return analyse


def _state(training: Training) -> dict[str, NDArray]:
    """Per-image state of the method."""
    return {name: values.cpu().numpy() for name, values in training.method.sample_state().items()}
