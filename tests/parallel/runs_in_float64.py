"""Training in float64 by one or several processes, for comparison; the processes import this file."""

from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor

from commands.float64_training import in_float64, trained
from tests.runs import small_config
from training.loop import StepStats, train
from training.prepare import Training, prepare

PER_EPOCH = {"warmup": "1", "interval": "1"}
CLUSTERED = {"clusters": "4", "warmup": "1"}
HPARAMS: dict[str, dict[str, str]] = {  # everything that a method does happens within two epochs
    "byol": {"hidden_dim": "32"},
    "colt": {**PER_EPOCH, "budget": "30", "clusters": "4"},
    "sdclr+colt": {**PER_EPOCH, "budget": "30", "clusters": "4"},
    "bcl+colt": {**PER_EPOCH, "budget": "30", "clusters": "4"},
    "mak": {"warmup": "1", "budget": "30", "clusters": "4", "inferences": "2"},
    "rwsam": {"warmup": "1"},
    "mocov2+rwsam": {"warmup": "1"},
    "tase": {**CLUSTERED, "refresh": "1", "ramp": "1"},
    # small crops of 8 px, not 9: rounding of views of an odd side depends on the place of an image in its part of a batch
    "dino": {"small_size": "0.5", "freeze": "1", "tau_warmup": "2", "hidden_dim": "32", "prototypes": "50"},
    "swav": {"small_size": "0.5", "freeze": "1", "queue_start": "1", "hidden_dim": "32", "prototypes": "50"},
}


def prepared(name: str, images: Tensor, batch_size: int = 32, lr: float = 0.05, device: str = "cpu") -> Training:
    """A run of two epochs of 65 images in float64; of three batches of 32, the last has 33."""
    config = small_config(name, hparams=HPARAMS.get(name, {}), optimizer="sgd", lr=lr, batch_size=batch_size)
    return in_float64(prepare(config, images[:65], torch.device(device), pool=images[65:165].numpy()))


def train_each(images: Tensor, names: list[str]) -> dict[str, dict[str, Tensor]]:
    """State after two epochs, by name of the method."""
    return {name: trained(prepared(name, images)) for name in names}


def stopped_and_finished(images: Tensor, folder: Path, stop_after: int | None) -> dict[str, Tensor]:
    """State of a SimCLR run of 2 times 22 steps; raises an error after step `stop_after`, if given, as if it were killed."""
    training, steps = prepared("simclr", images, batch_size=3, lr=0.005), 0

    def count(_: StepStats) -> None:
        nonlocal steps
        steps += 1
        if steps == stop_after:
            raise InterruptedError

    train(training, folder / "checkpoint.pt", folder / "log.jsonl", count, checkpoint_seconds=0.0)
    return training.state.state_dict()


def stopped(images: Tensor, folder: Path, stop_after: int) -> None:
    """Starts a run that ends early."""
    with suppress(InterruptedError):
        stopped_and_finished(images, folder, stop_after)
