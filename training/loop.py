"""The training loop: one run from its initial state, or its checkpoint, to its last."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from core.files import write_text
from core.seeds import seed_of
from data.loader import Batch
from training.checkpoint import Progress, load_checkpoint, save_checkpoint
from training.optimizer import set_learning_rate
from training.prepare import Training, autocast
from training.schedule import learning_rate

CHECK_EVERY = 20  # steps between looks at whether the numbers are finite, each of which waits for the device


class Diverged(Exception):
    """A loss or a gradient is no longer finite."""


@dataclass(frozen=True)
class StepReport:
    """What the loop tells after each step."""

    epoch: int  # from 0
    images: int  # source images of this step
    pixels: int  # their views' area, as a measure of work
    loss: Callable[[], float]  # mean loss of the epoch so far; reading it waits for the device


def train(
    training: Training,
    checkpoint: Path,
    log: Path,
    report: Callable[[StepReport], None],
    checkpoint_seconds: float,
    stop: Callable[[], bool] = lambda: False,
    analyse: Callable[[Training, int], dict] = lambda training, epoch: {},
) -> Progress:
    """Trains a run to its end, from its checkpoint where there is one.

    Args:
        training: a run made ready by `prepare`.
        checkpoint: file to go on from and to save to.
        log: file of one JSON line an epoch; lines past the checkpoint are dropped, as those epochs are trained again.
        report: called after every step.
        checkpoint_seconds: a checkpoint is saved when this much time has passed since the last, and at the end.
        stop: asked after every step; when it says so, a checkpoint is saved and the run left.
        analyse: called at the end of each epoch, with its number from 1; what it returns goes into its line of the log.

    Raises:
        KeyboardInterrupt: it was stopped.
        Diverged: loss or gradient not finite; the last checkpoint is from before it.
        UserError: the checkpoint is damaged or foreign, or cannot be written.
    """
    config, optimizer, state = training.config, training.optimizer, training.state
    progress = Progress()
    if checkpoint.exists():
        progress = load_checkpoint(checkpoint, config.run_id, state, optimizer)
        training.loader.unreadable.update(progress.unreadable)
    lines = log.read_text().splitlines()[: progress.epoch] if log.exists() else []
    write_text(log, "".join(line + "\n" for line in lines))

    watch = _Watch(training.device)
    started = saved = time.monotonic()
    earlier = progress.seconds

    def save() -> None:
        nonlocal saved
        watch.check(progress)
        progress.seconds = earlier + time.monotonic() - started
        progress.unreadable = sorted(training.loader.unreadable)
        save_checkpoint(checkpoint, config.run_id, state, optimizer, progress)
        saved = time.monotonic()

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
            watch.add(loss, gradient, images)
            progress.step += 1
            progress.images += images
            seen += images
            if progress.step % CHECK_EVERY == 0:
                watch.check(progress)
            report(StepReport(epoch, images, images * size * size, lambda: watch.mean_loss(progress)))
            stopping = stop()
            if stopping or (time.monotonic() - saved >= checkpoint_seconds and progress.step < steps):
                save()
            if stopping:
                raise KeyboardInterrupt
        watch.check(progress)
        line = {
            "epoch": epoch + 1,
            "loss": watch.mean_loss(progress),
            "lr": optimizer.param_groups[0]["lr"],
            "view_px": size,
            "images_per_second": round(seen / (time.monotonic() - epoch_started), 1),
            **({"unreadable": len(training.loader.unreadable)} if training.loader.unreadable else {}),
            **analyse(training, epoch + 1),
        }
        with log.open("a") as file:
            file.write(json.dumps(line) + "\n")
        progress.epoch, progress.step, progress.epoch_loss, progress.epoch_images = epoch + 1, 0, 0.0, 0
        if progress.epoch == training.epochs or time.monotonic() - saved >= checkpoint_seconds:
            save()
    return progress


def start_epoch(training: Training, epoch: int) -> None:
    """Lets the method look at its images before epoch `epoch`: in eval mode, so that looking changes no statistics."""
    torch.manual_seed(seed_of(training.config.seed, "epoch", epoch))  # for hooks that draw random numbers
    training.method.eval()
    with torch.no_grad():
        training.method.on_epoch_start(epoch, training.corpus)


def step(training: Training, batch: Batch, number: int) -> tuple[Tensor, Tensor]:
    """One optimiser step, number `number` of the run from 0; returns the loss and the norm of the gradient, on the device."""
    config, method, optimizer, recipe = training.config, training.method, training.optimizer, training.config.recipe
    # networks that draw random numbers themselves (dropout, stochastic depth) draw the same ones when resumed
    torch.manual_seed(seed_of(config.seed, "network", number))
    warmup, steps = round(recipe.warmup_epochs * training.loader.steps()), training.steps_before[-1]
    set_learning_rate(optimizer, learning_rate(number + 1, steps, warmup, recipe.lr, recipe.final_lr, recipe.schedule))
    with autocast(training.device, config.precision):
        output = method.loss(batch)
    loss = output.loss
    optimizer.zero_grad()
    loss.backward()
    gradient = torch.nn.utils.get_total_norm([p.grad for p in method.parameters() if p.grad is not None])
    optimizer.step()
    method.after_step(number)
    training.tail_scores.update(batch.index, output.scores)
    return loss.detach(), gradient


def batches(training: Training, epoch: int, start: int = 0) -> Iterator[Batch]:
    """The batches of an epoch from step `start` on, in the memory format that convolutions like."""
    method = training.method
    selected = method.extra_selection()
    extra = training.corpus.take(selected) if selected is not None and method.extra_images(epoch) else None
    for batch in training.loader.epoch(epoch, training.size(epoch), start, method.view_strength, extra):
        views = tuple(view.contiguous(memory_format=torch.channels_last) for view in batch.views)
        yield replace(batch, views=views)


class _Watch:
    """Sums losses and looks for numbers that are not finite, on the device, without waiting for it at every step."""

    def __init__(self, device: torch.device):
        self._loss = torch.zeros((), device=device, dtype=torch.float64)
        self._images = 0
        self._gradient = torch.zeros((), device=device)

    def add(self, loss: Tensor, gradient: Tensor, images: int) -> None:
        """Counts a step's mean loss over so many images, and a gradient norm: a sum that is not finite stays so."""
        self._loss += loss.double() * images
        self._images += images
        self._gradient += gradient

    def check(self, progress: Progress) -> None:
        """Moves the sums into `progress`. Raises Diverged, saying where, if anything was not finite since the last check."""
        progress.epoch_loss += self._loss.item()
        progress.epoch_images += self._images
        self._loss.zero_()
        self._images = 0
        gradient = self._gradient.item()
        self._gradient.zero_()
        if not (abs(progress.epoch_loss) < float("inf") and gradient < float("inf")):
            what = "gradient" if abs(progress.epoch_loss) < float("inf") else "loss"
            raise Diverged(
                f"the {what} is not finite any more by epoch {progress.epoch + 1}, step {progress.step}; lower the learning "
                "rate (--set recipe.lr=...) or use --precision fp32"
            )

    def mean_loss(self, progress: Progress) -> float:
        """Mean loss over the images of the epoch under way."""
        return (progress.epoch_loss + self._loss.item()) / max(progress.epoch_images + self._images, 1)
