"""Linear probe of BCL: Adam for 500 epochs on cached features, last epoch, no model selection.

Reference: MediaBrain-SJTU/BCL, `eval_cifar.py` and `test.py`. Deviations: the reference has five published lists for each of
its 100- and 50-shot probes, this suite draws its own; initial weights (default of `nn.Linear`) and data order come from the
seed of the probe instead of torch's global generator.
"""

from typing import ClassVar

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from core.seeds import seed_of
from data.lists.longtail import IndexLists, Indices
from eval.features import FrozenFeatures, LabelledFeatures
from eval.probes.base import Probe, ProbeResult, register
from eval.probes.shots import DRAWS, draw_shots

EPOCHS, BATCH, WEIGHT_DECAY = 500, 1000, 5e-6
LR_FIRST, LR_LAST = 1e-2, 1e-6  # decayed after each epoch, so that the last epoch runs one decay step above LR_LAST
TRAINING = (
    "on cached features of unaugmented images, not normalised: Adam, weight decay 5e-6, lr 1e-2 to 1e-6 exponentially by "
    "epoch, batch 1000, 500 epochs, the last one, nothing chosen on validation"
)


@register("bcl")
class BCL(Probe):
    """Linear probe on all labelled training images."""

    protocol = f"BCL linear probe, full-shot, {TRAINING}"
    needs = ("train",)

    def draws(self, frozen: FrozenFeatures, seed: int) -> tuple[list[Indices], str]:
        """Returns the labelled images of each draw and a description of their origin."""
        return [frozen.lists.train], "nothing"

    def run(self, frozen: FrozenFeatures, seed: int) -> ProbeResult:
        draws, origin = self.draws(frozen, seed)
        predicted = []
        for draw, indices in enumerate(draws, start=1):
            head = train_head(frozen.unaugmented(indices), frozen.classes, frozen.device, seed_of(seed, "bcl", draw))
            predicted.append(_predict(head, frozen.test))
        return ProbeResult(np.stack(predicted), len(draws[0]), origin)


class FewShot(BCL):
    """Linear probes on several draws of a fixed number of images per class."""

    shots: ClassVar[int]

    def draws(self, frozen: FrozenFeatures, seed: int) -> tuple[list[Indices], str]:
        train, labels = frozen.lists.train, frozen.images.train_labels
        drawn = [draw_shots(train, labels, self.shots, seed, draw) for draw in range(1, DRAWS + 1)]
        short = int((np.bincount(labels[train], minlength=frozen.classes) < self.shots).sum())
        note = f"; classes with fewer than {self.shots} images, which give all: {short} of {frozen.classes}" if short else ""
        return drawn, f"five draws of this suite{note}"


@register("bcl-100shot")
class BCL100Shot(FewShot):
    """Linear probe on 100 images per class: the benchmark's published list if it has one, else draws of this suite."""

    protocol = (
        "BCL linear probe, 100 images a class (Geometric-Harmonization's list where the benchmark has it, else five draws of "
        f"this suite), {TRAINING}"
    )
    shots = 100

    @classmethod
    def feature_lists(cls, lists: IndexLists) -> tuple[str, ...]:
        return ("train",) if _listed(lists) is None else ("shot100",)

    def draws(self, frozen: FrozenFeatures, seed: int) -> tuple[list[Indices], str]:
        listed = _listed(frozen.lists)
        return super().draws(frozen, seed) if listed is None else ([listed], "list of Geometric-Harmonization")


@register("bcl-50shot")
class BCL50Shot(FewShot):
    """Linear probe on 50 images per class."""

    protocol = f"BCL linear probe, 50 images a class (five draws of this suite), {TRAINING}"
    shots = 50


def train_head(rows: LabelledFeatures, classes: int, device: torch.device, seed: int) -> nn.Linear:
    """Trains a linear classifier.

    Args:
        rows: labelled features.
        classes: number of outputs, classes without a feature included.
        device: device of training.
        seed: of initial weights and of the data order.
    """
    head = _initial_head(rows.bank.shape[1], classes, seed).to(device)
    # a CPU gathers batches from the shared feature bank; a GPU gets one copy
    on_cpu = device.type == "cpu"
    x, index = (rows.bank, rows.index) if on_cpu else (rows[:][0].to(device), torch.arange(len(rows), device=device))
    y = rows.labels.to(device)
    optimizer = torch.optim.Adam(head.parameters(), weight_decay=WEIGHT_DECAY, fused=True)
    for epoch in range(EPOCHS):
        for group in optimizer.param_groups:
            group["lr"] = LR_FIRST * (LR_LAST / LR_FIRST) ** (epoch / EPOCHS)
        order = torch.randperm(len(rows), generator=_stream(seed, "order", epoch)).to(device)
        for which, labels in zip(index[order].split(BATCH), y[order].split(BATCH), strict=True):
            optimizer.zero_grad()
            F.cross_entropy(head(x.index_select(0, which)), labels).backward()
            optimizer.step()
    return head


def _initial_head(width: int, classes: int, seed: int) -> nn.Linear:
    """Returns a linear layer with torch's default initialisation, weights and biases from U(-1/sqrt(d), 1/sqrt(d))."""
    head = nn.utils.skip_init(nn.Linear, width, classes)
    stream = _stream(seed, "init")
    for parameter in (head.weight, head.bias):
        nn.init.uniform_(parameter, -(width**-0.5), width**-0.5, generator=stream)
    return head


@torch.no_grad()
def _predict(head: nn.Linear, rows: LabelledFeatures) -> Indices:
    return torch.cat([head(x.to(head.weight.device)).argmax(dim=1).cpu() for x, _ in rows.blocks()]).numpy()


def _listed(lists: IndexLists) -> Indices | None:
    """Returns the published 100-shot list, or None: not every benchmark has the field, and it can be empty."""
    listed = getattr(lists, "shot100", None)
    return listed if listed is not None and len(listed) else None


def _stream(seed: int, purpose: str, *place: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed_of(seed, purpose, *place))
