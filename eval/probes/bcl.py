"""The linear probe of BCL: Adam for 500 epochs on cached features, the last epoch, no choice.

MediaBrain-SJTU/BCL, `eval_cifar.py` and `test.py`. Two departures: its 100- and 50-shot probes have five published lists each,
this suite draws its own; and what the reference draws from torch's global generator (initial weights as `nn.Linear` has them,
the order of the images in every epoch) comes from the seed.
"""

from typing import ClassVar

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from core.seeds import seed_of
from data.lists.longtail import IndexLists, Indices
from eval.features import Frozen, Rows
from eval.probes.base import Probe, ProbeResult, register
from eval.probes.shots import DRAWS, draw_shots

EPOCHS, BATCH, WEIGHT_DECAY = 500, 1000, 5e-6
LR_FIRST, LR_LAST = 1e-2, 1e-6  # the fall is cut into as many steps as there are epochs, so the last epoch is a step above
TRAINING = (
    "on cached features of unaugmented images, not normalised: Adam, weight decay 5e-6, lr 1e-2 to 1e-6 exponentially by "
    "epoch, batch 1000, 500 epochs, the last one, nothing chosen on validation"
)


@register("bcl")
class BCL(Probe):
    """On all labelled training images."""

    protocol = f"BCL linear probe, full-shot, {TRAINING}"
    needs = ("train",)

    def draws(self, frozen: Frozen, seed: int) -> tuple[list[Indices], str]:
        """The labelled images of each draw, and where they are from, in a few words."""
        return [frozen.lists.train], "nothing"

    def run(self, frozen: Frozen, seed: int) -> ProbeResult:
        draws, origin = self.draws(frozen, seed)
        predicted = []
        for draw, indices in enumerate(draws, start=1):
            head = train_head(frozen.rows(indices), frozen.classes, frozen.device, seed_of(seed, "bcl", draw))
            predicted.append(_predict(head, frozen.test))
        return ProbeResult(np.stack(predicted), len(draws[0]), origin)


class FewShot(BCL):
    """On a number of images of each class, several times."""

    shots: ClassVar[int]

    def draws(self, frozen: Frozen, seed: int) -> tuple[list[Indices], str]:
        train, labels = frozen.lists.train, frozen.images.train_labels
        drawn = [draw_shots(train, labels, self.shots, seed, draw) for draw in range(1, DRAWS + 1)]
        short = int((np.bincount(labels[train], minlength=frozen.classes) < self.shots).sum())
        note = f"; classes with fewer than {self.shots} images, which give all: {short} of {frozen.classes}" if short else ""
        return drawn, f"five draws of this suite{note}"


@register("bcl-100shot")
class BCL100Shot(FewShot):
    """On a hundred images of each class: the benchmark's published list, or draws of this suite."""

    protocol = (
        "BCL linear probe, 100 images a class (Geometric-Harmonization's list where the benchmark has it, else five draws of "
        f"this suite), {TRAINING}"
    )
    shots = 100

    @classmethod
    def feature_lists(cls, lists: IndexLists) -> tuple[str, ...]:
        return ("train",) if _listed(lists) is None else ("shot100",)

    def draws(self, frozen: Frozen, seed: int) -> tuple[list[Indices], str]:
        listed = _listed(frozen.lists)
        return super().draws(frozen, seed) if listed is None else ([listed], "list of Geometric-Harmonization")


@register("bcl-50shot")
class BCL50Shot(FewShot):
    """On fifty images of each class."""

    protocol = f"BCL linear probe, 50 images a class (five draws of this suite), {TRAINING}"
    shots = 50


def train_head(rows: Rows, classes: int, device: torch.device, seed: int) -> nn.Linear:
    """Trains a linear classifier on `device`.

    Args:
        rows: labelled features.
        classes: outputs; a class that does not occur in `rows` is one too.
        device: where.
        seed: of initial weights and of the order of the images in each epoch.
    """
    head = _fresh(rows.bank.shape[1], classes, seed).to(device)
    # on the CPU batches are gathered from the bank that all probes share; a GPU gets a copy once
    on_cpu = device.type == "cpu"
    x, at = (rows.bank, rows.at) if on_cpu else (rows[:][0].to(device), torch.arange(len(rows), device=device))
    y = rows.labels.to(device)
    optimizer = torch.optim.Adam(head.parameters(), weight_decay=WEIGHT_DECAY, fused=True)
    for epoch in range(EPOCHS):
        for group in optimizer.param_groups:
            group["lr"] = LR_FIRST * (LR_LAST / LR_FIRST) ** (epoch / EPOCHS)
        order = torch.randperm(len(rows), generator=_stream(seed, "order", epoch)).to(device)
        for which, labels in zip(at[order].split(BATCH), y[order].split(BATCH), strict=True):
            optimizer.zero_grad()
            F.cross_entropy(head(x.index_select(0, which)), labels).backward()
            optimizer.step()
    return head


def _fresh(width: int, classes: int, seed: int) -> nn.Linear:
    """A layer with the initial weights that torch gives one, U(-1/sqrt(d), 1/sqrt(d)), biases too."""
    head = nn.utils.skip_init(nn.Linear, width, classes)
    stream = _stream(seed, "init")
    for parameter in (head.weight, head.bias):
        nn.init.uniform_(parameter, -(width**-0.5), width**-0.5, generator=stream)
    return head


@torch.no_grad()
def _predict(head: nn.Linear, rows: Rows) -> Indices:
    return torch.cat([head(x.to(head.weight.device)).argmax(dim=1).cpu() for x, _ in rows.blocks()]).numpy()


def _listed(lists: IndexLists) -> Indices | None:
    """Not every benchmark's lists have the field, nor every split images in it."""
    listed = getattr(lists, "shot100", None)
    return listed if listed is not None and len(listed) else None


def _stream(seed: int, purpose: str, *place: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed_of(seed, purpose, *place))
