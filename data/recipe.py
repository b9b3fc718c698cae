"""How a benchmark is trained on: what the field's protocol fixes beside the method."""

from dataclasses import dataclass
from typing import Literal

from core.settings import setting


@dataclass(frozen=True)
class Recipe:
    """Optimisation and scale of one pretraining run. Defaults: CIFAR in VITA-Group/SDCLR, `cmds/shell_scrips/`."""

    backbone: str = setting("resnet18", "network, by its name here or in timm")
    epochs: int = setting(2000, "passes over the long-tailed set; 0 probes the untrained network", low=0)
    batch_size: int = setting(512, "images per step; the last, smaller batch of an epoch is used too", low=2)
    optimizer: Literal["sgd", "adamw", "muon"] = setting("sgd", "SGD with momentum 0.9, AdamW, or Muon")
    lr: float = setting(0.5, "peak learning rate at batch_size", low=0)
    weight_decay: float = setting(1e-4, "decay of the weights", low=0)
    warmup_epochs: float = setting(10.0, "linear warm-up from 0 to lr, in epochs", low=0)
    schedule: Literal["cosine", "linear"] = setting("cosine", "from lr down to final_lr by a half cosine or a straight line")
    final_lr: float = setting(1e-6, "learning rate at the end of the schedule", low=0)
    sizes: tuple[int, ...] = setting((32,), "side of the views in px, each for an equal share of the epochs", low=4)
