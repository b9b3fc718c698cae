"""The training loop of one run, which resumes from a checkpoint."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from backbones.precision import autocast, kernels
from core.seeds import seed_of
from data.loader import Batch
from parallel import processes
from training.checkpoint import Progress, has_checkpoint, load_checkpoint
from training.checkpoint_writer import CheckpointWriter
from training.collapse import likely_cause
from training.gradients import backward
from training.log import append_epoch, resume_log
from training.optimizer import set_learning_rate
from training.prepare import Training
from training.schedule import learning_rate
from training.sharpness import perturbed

CHECK_EVERY = 20  # steps between checks for non-finite values, each of which synchronizes with the device
SPIKE = 3.0  # a loss above this multiple of the running mean of earlier losses is a spike
SPIKE_WARMUP = 20  # steps of a run before spikes are counted, and time constant of the running mean in steps


class Diverged(Exception):
    """The loss or the gradient is not finite."""


@dataclass(frozen=True)
class StepStats:
    """Statistics of one training step, for the progress bar."""

    epoch: int  # from 0
    images: int  # source images of the step
    pixels: int  # images times pixels of a view, as a measure of computation
    loss: Callable[[], float]  # running mean loss of the epoch; synchronizes with the device


def train(
    training: Training,
    checkpoint: Path,
    log: Path,
    on_step: Callable[[StepStats], None],
    checkpoint_seconds: float,
    stop: Callable[[], bool] = lambda: False,
    analyse: Callable[[Training, int], dict] = lambda training, epoch: {},
    on_epoch: Callable[[dict], None] = lambda line: None,
) -> Progress:
    """Trains a run to completion; resumes if the checkpoint exists.

    Args:
        training: result of `prepare`.
        checkpoint: file to resume from and to save to.
        log: see `training.log`; lines after the checkpoint are dropped, as those epochs are repeated.
        on_step: called after every step.
        checkpoint_seconds: seconds between checkpoints, which a thread writes; the next waits for the end of the last. One is
            also saved at the end.
        stop: called after every step, with several processes every CHECK_EVERY steps in the main process; if it returns true,
            training saves a checkpoint and stops.
        analyse: called at the end of each epoch, counted from 1; its result is added to the log line.
        on_epoch: called with each log line after it is written, in the main process.

    Raises:
        KeyboardInterrupt: `stop` returned true.
        Diverged: loss or gradient are not finite; the last checkpoint precedes it.
        UserError: no checkpoint can be read, they belong to another run, or one cannot be written.
    """
    writer = CheckpointWriter(checkpoint, training.config.run_id, training.state, training.optimizer, training.device)
    with writer:
        return _train(training, checkpoint, writer, log, on_step, checkpoint_seconds, stop, analyse, on_epoch)


def _train(
    training: Training,
    checkpoint: Path,
    writer: CheckpointWriter,
    log: Path,
    on_step: Callable[[StepStats], None],
    checkpoint_seconds: float,
    stop: Callable[[], bool],
    analyse: Callable[[Training, int], dict],
    on_epoch: Callable[[dict], None],
) -> Progress:
    """`train` with a writer of checkpoints."""
    config, optimizer, state = training.config, training.optimizer, training.state
    progress = Progress()
    if processes.from_main(lambda: has_checkpoint(checkpoint)):
        progress = load_checkpoint(checkpoint, config.run_id, state, optimizer)
        training.loader.unreadable.update(progress.unreadable)
    if processes.is_main():
        resume_log(log, progress.epoch)

    meter = _LossMeter(training, progress.loss_scale)
    started = saved = time.monotonic()
    earlier = progress.seconds

    def save() -> None:
        nonlocal saved
        meter.check(progress)
        progress.seconds = earlier + time.monotonic() - started
        progress.unreadable = sorted(training.loader.unreadable)
        if processes.is_main():
            writer.save(progress)
        saved = time.monotonic()

    def due() -> bool:
        return writer.ready() and time.monotonic() - saved >= checkpoint_seconds

    while progress.epoch < training.epochs:
        epoch_started, epoch = time.monotonic(), progress.epoch
        if progress.step == 0:
            start_epoch(training, epoch)
        training.method.train()
        first, steps = training.steps_before[epoch], training.steps(epoch)
        size, seen = training.size(epoch), 0
        for batch in batches(training, epoch, progress.step):
            loss, gradient = step(training, batch, first + progress.step)
            images = len(batch.index)
            meter.add(loss, gradient, images, first + progress.step)
            progress.step += 1
            progress.images += images
            seen += images
            if progress.step % CHECK_EVERY == 0:
                meter.check(progress)
            on_step(StepStats(epoch, images, images * size * size, lambda: meter.mean_loss(progress)))
            if processes.count() > 1 and progress.step % CHECK_EVERY and progress.step < steps:
                continue  # a decision synchronises the processes
            stopping, is_due = processes.from_main(lambda: (stop(), due()))
            if stopping or (is_due and progress.step < steps):
                save()
            if stopping:
                writer.wait()
                raise KeyboardInterrupt
        meter.check(progress)
        line = {
            "epoch": epoch + 1,
            "loss": meter.mean_loss(progress),
            "lr": optimizer.param_groups[0]["lr"],
            "view_px": size,
            "images_per_second": round(seen / (time.monotonic() - epoch_started), 1) if seen else None,
            **({"loss_spikes": progress.loss_spikes} if progress.loss_spikes else {}),
            **({"unreadable": len(training.loader.unreadable)} if training.loader.unreadable else {}),
            **analyse(training, epoch + 1),
        }
        if processes.is_main():
            append_epoch(log, line)
            on_epoch(line)
        progress.epoch, progress.step, progress.epoch_loss, progress.epoch_images = epoch + 1, 0, 0.0, 0
        progress.loss_spikes = 0
        if progress.epoch == training.epochs or processes.from_main(due):
            save()
    return progress


def start_epoch(training: Training, epoch: int) -> None:
    """Calls the hook of the method before an epoch, in eval mode so that batch norm statistics do not change."""
    torch.manual_seed(seed_of(training.config.seed, "epoch", epoch))  # for hooks that use the global generator
    training.method.eval()
    with torch.no_grad():
        training.method.on_epoch_start(epoch, training.corpus)
        processes.copy_from_main(training.method.buffers())  # masks and clusters, should rounding differ between devices


def step(training: Training, batch: Batch, number: int) -> tuple[Tensor, Tensor]:
    """Runs optimiser step `number` of the run, from 0; returns the loss and the gradient norm, both on the device."""
    config, method, optimizer, recipe = training.config, training.method, training.optimizer, training.config.recipe
    # for networks that use the global generator (dropout, stochastic depth): a resumed run repeats their random numbers
    torch.manual_seed(seed_of(config.seed, "network", number))
    warmup, steps = round(recipe.warmup_epochs * training.loader.steps()), training.steps_before[-1]
    set_learning_rate(optimizer, learning_rate(number + 1, steps, warmup, recipe.lr, recipe.final_lr, recipe.schedule))
    optimizer.zero_grad()
    context = autocast(training.device, config.precision)
    with kernels(config.precision), perturbed(method, batch, context, recipe.accumulate):
        output = backward(method, batch, context, recipe.accumulate)
    gradient = torch.nn.utils.get_total_norm([p.grad for p in method.parameters() if p.grad is not None])
    optimizer.step()
    method.after_step(number)
    training.tail_scores.update(batch.index, output.scores)
    return output.loss.detach(), gradient


def batches(training: Training, epoch: int, start: int = 0) -> Iterator[Batch]:
    """Yields the batches of an epoch from step `start` on, in channels-last memory format."""
    method = training.method
    selected = method.extra_selection()
    extra = training.corpus.take(selected) if selected is not None and method.extra_images(epoch) else None
    for batch in training.loader.epoch(epoch, training.size(epoch), start, method.view_strength, extra):
        views = tuple(view.contiguous(memory_format=torch.channels_last) for view in batch.views)
        yield replace(batch, views=views)


class _LossMeter:
    """Accumulates losses and counts spikes and non-finite values on the device, without synchronizing at every step."""

    def __init__(self, training: Training, scale: float | None):
        """`scale` is the running mean of the losses of earlier steps, if there are any."""
        self._config = training.config
        # of losses, spikes, non-finite losses, non-finite gradients
        self._sums = torch.zeros(4, device=training.device, dtype=torch.float64)
        self._scale = None if scale is None else self._sums.new_tensor(scale)
        self._images = self._steps = 0

    def add(self, loss: Tensor, gradient: Tensor, images: int, number: int) -> None:
        """Adds step `number` of the run, from 0: the mean loss over `images` images, and the gradient norm."""
        loss = loss.double()
        if self._scale is None:
            self._scale = loss.clone()
        limit = self._scale + (SPIKE - 1) * self._scale.abs()
        spike = (loss > limit) & (number >= SPIKE_WARMUP)
        self._sums += torch.stack([loss * images, spike, ~loss.isfinite(), ~gradient.isfinite()])
        self._scale.lerp_(torch.minimum(loss, limit), 1 / SPIKE_WARMUP)
        self._images += images
        self._steps += 1

    def check(self, progress: Progress) -> None:
        """Moves the sums into `progress`. Raises Diverged if a value since the last check was not finite."""
        total, spikes, losses, gradients = self._sums.tolist()
        progress.epoch_loss += total
        progress.epoch_images += self._images
        progress.loss_spikes += int(spikes)
        progress.loss_scale = None if self._scale is None else self._scale.item()
        steps, self._images, self._steps = self._steps, 0, 0
        self._sums.zero_()
        if losses or gradients:
            what = "gradient" if gradients > losses else "loss"
            cause = likely_cause(self._config)
            raise Diverged(
                f"the {what} is not finite at epoch {progress.epoch + 1}, step {progress.step} "
                f"({int(max(losses, gradients))} of the last {steps} steps); "
                + (cause or "lower the learning rate (--set recipe.lr=...) or use --precision fp32")
            )

    def mean_loss(self, progress: Progress) -> float:
        """Mean loss over the images of the current epoch."""
        return (progress.epoch_loss + self._sums[0].item()) / max(progress.epoch_images + self._images, 1)
