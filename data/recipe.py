"""Pretraining recipe of a benchmark: backbone, optimiser, schedule, batch size and view sizes."""

from dataclasses import dataclass
from typing import Literal

from core.settings import setting


@dataclass(frozen=True)
class Recipe:
    """Recipe of one pretraining run. Defaults: CIFAR in VITA-Group/SDCLR, `cmds/shell_scrips/`."""

    backbone: str = setting("resnet18", "registered backbone or timm model")
    epochs: int = setting(2000, "training epochs; 0 evaluates the randomly initialised backbone", 0, 10**6)
    batch_size: int = setting(512, "images per step; the last, smaller batch of an epoch is kept", low=2)
    accumulate: int = setting(1, "parts of a batch that are encoded one after the other, to save memory", 1, 10**4)
    optimizer: Literal["sgd", "adamw", "muon", "lars"] = setting("sgd", "SGD with momentum 0.9, AdamW, Muon, or LARS")
    lr: float = setting(0.5, "peak learning rate at batch_size", low=0)
    weight_decay: float = setting(1e-4, "weight decay", low=0)
    warmup_epochs: float = setting(10.0, "linear warm-up from 0 to lr, in epochs", low=0)
    schedule: Literal["cosine", "linear"] = setting("cosine", "decay from lr to final_lr: half cosine or linear")
    final_lr: float = setting(1e-6, "learning rate at the end of the schedule", low=0)
    sizes: tuple[int, ...] = setting((32,), "view sizes in px, each for an equal fraction of the epochs", 4, 4096)
