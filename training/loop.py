"""The training loop: one run from its configuration to its last checkpoint."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

import backbones
from core.files import write_text
from core.seeds import seed_of
from data.benchmark import BENCHMARKS
from data.loader import Batch, Loader, steps_per_epoch
from data.torch_views import TorchViews
from methods import METHODS, Method, RunScale
from training.checkpoint import Progress, load_checkpoint, save_checkpoint
from training.config import RunConfig
from training.optimizer import build_optimizer, set_learning_rate
from training.schedule import learning_rate, view_size

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


@dataclass(frozen=True)
class Training:
    """One run made ready: everything the loop touches, and nothing else."""

    config: RunConfig
    method: Method
    optimizer: torch.optim.Optimizer
    loader: Loader
    device: torch.device

    @property
    def steps(self) -> int:
        """Optimiser steps of the whole run."""
        return self.config.recipe.epochs * self.loader.steps

    def size(self, epoch: int) -> int:
        """Side of the views in an epoch, in px."""
        return view_size(epoch, self.config.recipe.epochs, self.config.recipe.sizes)


def prepare(config: RunConfig, images: Tensor, device: torch.device) -> Training:
    """Builds the method, its optimiser and its loader at their initial state.

    Args:
        config: the run.
        images: (N, 3, H, W) uint8, the pretraining set in the order of its index list.
        device: where to train.
    """
    images = images.to(device)
    method = build_method(config, len(images)).to(device).to(memory_format=torch.channels_last)
    base = BENCHMARKS[config.dataset].view
    executor = {"torch": TorchViews}[config.executor](tuple(role.on(base) for role in method.views))
    loader = Loader(images, executor, config.recipe.batch_size, config.seed)
    return Training(config, method, build_optimizer(method, config.recipe), loader, device)


def build_method(config: RunConfig, samples: int) -> Method:
    """The method of a run at its initial weights, on the CPU; the CPU's global generator is left as it was."""
    declared = METHODS[config.method]
    size = BENCHMARKS[config.dataset].image_size
    recipe = config.recipe
    scale = RunScale(samples, recipe.epochs, recipe.epochs * steps_per_epoch(samples, recipe.batch_size))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(config.seed, "init"))
        backbone = backbones.create(recipe.backbone, size)
        width = backbones.feature_width(backbone, size)
        return declared(declared.Hparams(**config.hparams), backbone, width, scale)


def autocast(device: torch.device, precision: str) -> AbstractContextManager:
    """The context in which networks run at `precision`."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")


def train(
    training: Training,
    checkpoint: Path,
    log: Path,
    report: Callable[[StepReport], None],
    checkpoint_seconds: float,
    stop: Callable[[], bool] = lambda: False,
) -> Progress:
    """Trains a run to its end, from its checkpoint where there is one.

    Args:
        training: a run made ready by `prepare`.
        checkpoint: file to go on from and to save to.
        log: file of one JSON line an epoch; lines past the checkpoint are dropped, as those epochs are trained again.
        report: called after every step.
        checkpoint_seconds: a checkpoint is saved when this much time has passed since the last, and at the end.
        stop: asked after every step; when it says so, a checkpoint is saved and the run left.

    Raises:
        KeyboardInterrupt: it was stopped.
        Diverged: loss or gradient not finite; the last checkpoint is from before it.
        UserError: the checkpoint is damaged or foreign, or cannot be written.
    """
    config, method, optimizer = training.config, training.method, training.optimizer
    progress = Progress()
    if checkpoint.exists():
        progress = load_checkpoint(checkpoint, config.run_id, method, optimizer)
    lines = log.read_text().splitlines()[: progress.epoch] if log.exists() else []
    write_text(log, "".join(line + "\n" for line in lines))

    method.train()
    watch = _Watch(training.device)
    started = saved = time.monotonic()
    earlier = progress.seconds

    def save() -> None:
        nonlocal saved
        watch.check(progress)
        progress.seconds = earlier + time.monotonic() - started
        save_checkpoint(checkpoint, config.run_id, method, optimizer, progress)
        saved = time.monotonic()

    while progress.epoch < config.recipe.epochs:
        epoch_started, epoch = time.monotonic(), progress.epoch
        if progress.step == 0:
            torch.manual_seed(seed_of(config.seed, "epoch", epoch))  # for hooks that draw random numbers
            method.on_epoch_start(epoch)
        size, seen = training.size(epoch), 0
        for batch in batches(training, epoch, progress.step):
            loss, gradient = step(training, batch, epoch * training.loader.steps + progress.step)
            images = len(batch.index)
            watch.add(loss, gradient, images)
            progress.step += 1
            progress.images += images
            seen += images
            if progress.step % CHECK_EVERY == 0:
                watch.check(progress)
            report(StepReport(epoch, images, images * size * size, lambda: watch.mean_loss(progress)))
            stopping = stop()
            if stopping or (time.monotonic() - saved >= checkpoint_seconds and progress.step < training.loader.steps):
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
        }
        with log.open("a") as file:
            file.write(json.dumps(line) + "\n")
        progress.epoch, progress.step, progress.epoch_loss, progress.epoch_images = epoch + 1, 0, 0.0, 0
        if progress.epoch == config.recipe.epochs or time.monotonic() - saved >= checkpoint_seconds:
            save()
    return progress


def step(training: Training, batch: Batch, number: int) -> tuple[Tensor, Tensor]:
    """One optimiser step, number `number` of the run from 0; returns the loss and the norm of the gradient, on the device."""
    config, method, optimizer, recipe = training.config, training.method, training.optimizer, training.config.recipe
    # networks that draw random numbers themselves (dropout, stochastic depth) draw the same ones when resumed
    torch.manual_seed(seed_of(config.seed, "network", number))
    warmup = round(recipe.warmup_epochs * training.loader.steps)
    set_learning_rate(optimizer, learning_rate(number + 1, training.steps, warmup, recipe.lr, recipe.final_lr))
    with autocast(training.device, config.precision):
        loss = method.loss(batch).loss
    optimizer.zero_grad()
    loss.backward()
    gradient = torch.nn.utils.get_total_norm([p.grad for p in method.parameters() if p.grad is not None])
    optimizer.step()
    method.after_step(number)
    return loss.detach(), gradient


def batches(training: Training, epoch: int, start: int = 0) -> Iterator[Batch]:
    """The batches of an epoch from step `start` on, in the memory format that convolutions like."""
    for batch in training.loader.epoch(epoch, training.size(epoch), start, training.method.view_strength):
        views = tuple(view.contiguous(memory_format=torch.channels_last) for view in batch.views)
        yield Batch(views, batch.index)


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
