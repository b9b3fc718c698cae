"""Runs a plan: trains what is not trained and has the rest probed."""

import logging
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import torch
from numpy.typing import NDArray

from core.errors import UserError
from core.files import write_text
from data.benchmark import BENCHMARKS, Benchmark, Images
from data.pools.pool import Pool, load_pool
from data.split import Split
from eval.tail import describe_state, tail_detection
from grid.data_check import warn_of_changed_data
from grid.plan import Plan
from grid.workers import Died, share_out
from probing.probe import probe_run
from run_store.class_quantiles import save_class_quantiles
from run_store.folder import RunFolder, TrainingFacts
from run_store.record_folder import Busy
from training.config import RunConfig
from training.device import device_name, peak_memory_mb, reset_peak_memory, use_threads
from training.loop import Diverged, train
from training.monitor import KnnMonitor
from training.prepare import Training, check_pool_size, prepare
from training.progress import training_bar
from training.signals import stop_requests

log = logging.getLogger(__name__)


def execute(plan: Plan, checkpoint_seconds: float, order: Sequence[int]) -> Iterator[tuple[RunFolder, str | None]]:
    """Trains and probes runs of the plan; yields each as it ends, with the reason where it failed.

    A run that fails is left behind with its traceback in `error.txt`, and the next one starts. Where the plan has several jobs,
    that many processes share the runs, and each run has the same bits as in one process of as many threads.

    Args:
        plan: what to run.
        checkpoint_seconds: between two checkpoints of a run.
        order: numbers of the runs, as they are to be started.

    Raises:
        UserError: the data of one of the runs cannot be had; nothing has been started then.
        KeyboardInterrupt: SIGINT or SIGTERM arrived; runs under way have saved a checkpoint.
    """
    attempt = _Attempt(plan, checkpoint_seconds)
    attempt.check_data(order)
    warn_of_changed_data([run for run, state in zip(plan.runs, plan.states, strict=True) if state == "DONE"], plan.data)
    jobs, threads = plan.shares
    if jobs == 1:
        for place, number in enumerate(order, start=1):
            log.info("[%d/%d] %s", place, len(order), plan.runs[number].config.label)
            yield plan.runs[number], attempt(number)
        return
    attempt = _Attempt(plan, checkpoint_seconds)  # without the pools that are loaded here, which only the processes need
    for number, result in share_out(order, attempt, jobs, partial(use_threads, threads)):
        run = plan.runs[number]
        if isinstance(result, Died):
            _keep_error(run, result.reason, result.reason)
            result = result.reason
        yield run, result


class _Attempt:
    """Runs one run of a plan by its number; keeps the pools that it has loaded for the next one."""

    def __init__(self, plan: Plan, checkpoint_seconds: float):
        self._plan, self._checkpoint_seconds = plan, checkpoint_seconds
        self._pools: dict[tuple[str | None, int | None], Pool | None] = {}

    def __call__(self, number: int) -> str | None:
        """None, or the reason why the run failed."""
        run = self._plan.runs[number]
        try:
            _execute_run(run, self._plan, self.pool(run.config), self._checkpoint_seconds)
        except Exception as error:  # one failed run must not stop the night's grid
            known = isinstance(error, UserError | Diverged)
            reason = str(error) if known else f"{type(error).__name__}: {error}; see {run.error}"
            if isinstance(error, Busy):  # the folder is another process's
                log.error("%s failed: %s", run.config.label, reason)
            else:
                _keep_error(run, reason, traceback.format_exc())
            return reason
        return None

    def pool(self, config: RunConfig) -> Pool | None:
        """The pool that a run draws on, if any."""
        name, size = which = _pool_of(config)
        if which not in self._pools:
            self._pools[which] = load_pool(name, size, self._plan.data.root) if name else None
        return self._pools[which]

    def check_data(self, numbers: Sequence[int]) -> None:
        """Opens data and pools of runs before the first one starts, so that missing data ends the command and not a run."""
        data = self._plan.data
        for config in (self._plan.runs[number].config for number in numbers):
            dataset = config.dataset
            _check_size(config, data.benchmark(dataset), data.load(dataset, self._plan.needs(dataset)))
            pool = self.pool(config)
            if pool is not None:
                check_pool_size(config, len(pool.images))


def _keep_error(run: RunFolder, reason: str, text: str) -> None:
    """Tells why a run failed, and keeps `text` in its folder."""
    log.error("%s failed: %s", run.config.label, reason)
    with suppress(UserError):  # where even this cannot be written, the reason has been told
        write_text(run.error, text)


def _check_size(config: RunConfig, benchmark: Benchmark, images: Images) -> None:
    """Raises UserError where there is no such list, or a batch is larger than one whose size only files tell, so only now."""
    size = len(benchmark.lists(images.train_labels, config.profile, config.split).pretrain)
    if config.recipe.batch_size > size:
        raise UserError(
            f"batch size {config.recipe.batch_size} is larger than {config.dataset}'s {size} images; lower --batch-size"
        )


def _pool_of(config: RunConfig) -> tuple[str | None, int | None]:
    """Name of the pool that a run draws on, if any, and the size of its images; None: as they are, beside pictures in files."""
    benchmark = BENCHMARKS[config.dataset]
    return config.hparams.get("pool") if config.recipe.epochs else None, None if benchmark.in_files else benchmark.image_size


def _execute_run(run: RunFolder, plan: Plan, pool: Pool | None, checkpoint_seconds: float) -> None:
    run.create()
    with run.lock():
        config = run.config
        split = plan.data.split(config.dataset, config.profile, config.split, plan.needs(config.dataset))
        run.begin(split.passport, pool.about if pool else None)
        training = prepare(
            config,
            split.pretrain_images,
            plan.device,
            pool=None if pool is None else pool.images,
            labels=torch.from_numpy(split.pretrain_labels),
        )
        if run.trained():
            run.load_weights(training.method)
        else:
            monitor = KnnMonitor(split, plan.monitor_every) if plan.monitored else None
            _train(run, training, split, monitor, checkpoint_seconds)
        probe_run(run, training, split, run.missing(plan.probes[config.dataset]))
        run.finish()


def _train(
    run: RunFolder,
    training: Training,
    split: Split,
    monitor: KnnMonitor | None,
    checkpoint_seconds: float,
) -> None:
    reset_peak_memory(training.device)
    tail = _analysis(run, split)

    def analyse(training: Training, epoch: int) -> dict[str, Any]:
        return tail(training) | (monitor(training, epoch) if monitor else {})

    with training_bar(training, lambda: monitor.last if monitor else "") as bar, stop_requests() as stop:
        progress = train(training, run.checkpoint, run.log, bar, checkpoint_seconds, stop, analyse)
        if stop():  # after the last step, which has been saved
            raise KeyboardInterrupt
    device = training.device
    facts = TrainingFacts(
        progress.seconds, progress.images, peak_memory_mb(device), device_name(device), len(progress.unreadable)
    )
    save_class_quantiles(run.path, _state(training), split.pretrain_labels, split.classes)
    run.save_trained(training.method, facts)


def _analysis(run: RunFolder, split: Split) -> Callable[[Training], dict[str, Any]]:
    """Returns what computes the log's fields on tail scores after each epoch, from labels that the method never sees."""
    labels, counts, group_counts, grouping = (
        split.pretrain_labels,
        split.class_counts,
        split.group_counts,
        split.benchmark.groups,
    )

    def analyse(training: Training) -> dict[str, Any]:
        scores = training.tail_scores.all().cpu().numpy()
        run.save_tail_scores(scores)
        found = describe_state(_state(training), labels, counts, grouping, group_counts)
        return {"tail": tail_detection(scores, labels, counts, grouping, group_counts), **found}

    return analyse


def _state(training: Training) -> dict[str, NDArray]:
    """What the method keeps of each image."""
    return {name: values.cpu().numpy() for name, values in training.method.sample_state().items()}
