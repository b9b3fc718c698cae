"""The linear probe of SDCLR, COLT and MAK: SGD at a rate of 30, the best epoch on validation.

VITA-Group/SDCLR, `train_cifar.py` and `train_imagenet.py`. `sdclr` follows them to the letter: every epoch passes newly
augmented images through the frozen network, in float32. `sdclr-cached` trains the same head on the features of a fixed number
of such passes, the epochs taking turns, at the run's own precision. How close the two are stands in docs/cpu_preset.md.
"""

from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.seeds import seed_of
from data.lists.longtail import IndexLists
from eval.features import Frozen, Rows
from eval.probes.base import Probe, ProbeResult, register

LR, MOMENTUM = 30.0, 0.9


@dataclass(frozen=True)
class Schedule:
    """How long the head is trained, and how its epoch is chosen."""

    epochs: int
    milestones: tuple[int, int]  # epochs at which the rate is divided by ten
    check_every: int  # epochs between looks at the validation accuracy
    passes: int  # augmented passes that `sdclr-cached` keeps: as few as come close to a new one an epoch
    batch: int = 128
    early: bool = True  # whether the rate falls before a milestone's epoch, counted from 1, or after it
    top: int = 1  # accuracy of the choice: whether the class is among this many

    def lr(self, epoch: int) -> float:
        """The rate of an epoch, from 1."""
        return LR * 0.1 ** sum(epoch >= milestone + (not self.early) for milestone in self.milestones)

    def cached(self, weak: str) -> str:
        """What the cached form trains on, in a clause."""
        return f"cached features of {self.passes} augmented pass{'es in turns' if self.passes > 1 else ''} ({weak})"

    def text(self) -> str:
        """The schedule in a clause."""
        first, second = (f"{'from' if self.early else 'after'} epoch {milestone}" for milestone in self.milestones)
        looks = {1: "", 2: " of every second"}.get(self.check_every, f" of every {self.check_every}")
        return (
            f"SGD lr {LR:g} (x0.1 {first}, again {second}), momentum {MOMENTUM:g}, batch {self.batch}, {self.epochs} epochs, "
            f"best{looks} on validation top-{self.top}"
        )


WEAK = "shifted by up to 4 of 32 px, mirrored"
WEAK_IN_FILES = "RandomResizedCrop, mirrored"
LITERAL = "augmented images ({}) through the frozen network in every epoch, in float32"
FULL, FEW = "SDCLR linear probe, full-shot", "SDCLR linear probe, few-shot (1 % list of the split)"
CIFAR_FULL = Schedule(epochs=30, milestones=(10, 20), check_every=1, passes=1)
CIFAR_FEW = Schedule(epochs=100, milestones=(40, 60), check_every=5, passes=20)
FILES_FULL = Schedule(epochs=30, milestones=(10, 20), check_every=2, passes=1, batch=512, early=False, top=5)
FILES_FEW = Schedule(epochs=100, milestones=(40, 60), check_every=10, passes=20, batch=512, early=False, top=5)


class SDCLR(Probe):
    """What the probes of this file share: the head, its schedule and its choice."""

    trains_on: ClassVar[str]  # the labelled list
    cifar: ClassVar[Schedule]  # of images in memory
    files: ClassVar[Schedule]  # of pictures in files: the reference's for ImageNet

    @classmethod
    def feature_lists(cls, lists: IndexLists) -> tuple[str, ...]:
        return ("val",)  # it trains on augmented images

    @abstractmethod
    def epochs(self, frozen: Frozen, seed: int, schedule: Schedule) -> Callable[[int], Iterator[tuple[Tensor, Tensor]]]:
        """What gives the batches of an epoch, from 1: features (b, d) and labels (b,)."""

    def run(self, frozen: Frozen, seed: int) -> ProbeResult:
        schedule = self.files if frozen.in_files else self.cifar
        frozen = self.features(frozen)
        batches = self.epochs(frozen, seed, schedule)
        return train_head(frozen, batches, len(getattr(frozen.lists, self.trains_on)), seed, schedule)

    def features(self, frozen: Frozen) -> Frozen:
        """What the head is trained and tested on."""
        return frozen


class Literal(SDCLR):
    """Augmented images through the frozen network in every epoch, in float32, as the reference."""

    def features(self, frozen: Frozen) -> Frozen:
        return frozen.in_fp32(("val",))

    def epochs(self, frozen: Frozen, seed: int, schedule: Schedule) -> Callable[[int], Iterator[tuple[Tensor, Tensor]]]:
        train = getattr(frozen.lists, self.trains_on)
        frozen.tally.announce(schedule.epochs * len(train))

        def batches(epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
            order = torch.randperm(len(train), generator=_stream(seed, "order", epoch)).numpy()
            return frozen.stream(train[order], seed_of(seed, "probe views", epoch), schedule.batch)

        return batches


class Cached(SDCLR):
    """The same on the features of some augmented passes, in which the epochs take turns."""

    def epochs(self, frozen: Frozen, seed: int, schedule: Schedule) -> Callable[[int], Iterator[tuple[Tensor, Tensor]]]:
        train = getattr(frozen.lists, self.trains_on)
        passes = [frozen.augmented(train, seed, "probe views", draw) for draw in range(1, schedule.passes + 1)]

        def batches(epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
            rows: Rows = passes[(epoch - 1) % schedule.passes]
            for which in torch.randperm(len(rows), generator=_stream(seed, "order", epoch)).split(schedule.batch):
                yield rows[which]

        return batches


@register("sdclr")
class FullShot(Literal):
    """On the balanced training images, to the letter."""

    protocol = f"{FULL}, {LITERAL.format(WEAK)}: {CIFAR_FULL.text()}"
    protocol_in_files = f"{FULL}, {LITERAL.format(WEAK_IN_FILES)}: {FILES_FULL.text()}"
    needs = ("train", "val")
    passes = 0.75 * CIFAR_FULL.epochs
    trains_on, cifar, files = "train", CIFAR_FULL, FILES_FULL


@register("sdclr-1pct")
class FewShot(Literal):
    """On the split's few-shot list, to the letter."""

    protocol = f"{FEW}, {LITERAL.format(WEAK)}: {CIFAR_FEW.text()}"
    protocol_in_files = f"{FEW}, {LITERAL.format(WEAK_IN_FILES)}: {FILES_FEW.text()}"
    needs = ("fewshot", "val")
    passes = 0.01 * CIFAR_FEW.epochs
    trains_on, cifar, files = "fewshot", CIFAR_FEW, FILES_FEW


@register("sdclr-cached")
class CachedFullShot(Cached):
    """On the balanced training images, by cached features."""

    protocol = f"{FULL}, {CIFAR_FULL.cached(WEAK)}: {CIFAR_FULL.text()}"
    protocol_in_files = f"{FULL}, {FILES_FULL.cached(WEAK_IN_FILES)}: {FILES_FULL.text()}"
    needs = ("train", "val")
    passes = 0.75 * CIFAR_FULL.passes
    trains_on, cifar, files = "train", CIFAR_FULL, FILES_FULL


@register("sdclr-cached-1pct")
class CachedFewShot(Cached):
    """On the split's few-shot list, by cached features."""

    protocol = f"{FEW}, {CIFAR_FEW.cached(WEAK)}: {CIFAR_FEW.text()}"
    protocol_in_files = f"{FEW}, {FILES_FEW.cached(WEAK_IN_FILES)}: {FILES_FEW.text()}"
    needs = ("fewshot", "val")
    passes = 0.01 * CIFAR_FEW.passes
    trains_on, cifar, files = "fewshot", CIFAR_FEW, FILES_FEW


def train_head(
    frozen: Frozen, batches: Callable[[int], Iterator[tuple[Tensor, Tensor]]], n_train: int, seed: int, schedule: Schedule
) -> ProbeResult:
    """Trains a linear classifier and tests the epoch that is best on validation.

    Weights begin as N(0, 0.01^2), biases as 0. Features are not normalised. The test images are looked at once, with the
    chosen head.

    Args:
        frozen: the backbone's features.
        batches: of an epoch, from 1.
        n_train: labelled images.
        seed: of the initial weights.
        schedule: of the training and of the choice.
    """
    validation = frozen.rows(frozen.lists.val)
    head = nn.Linear(frozen.test.bank.shape[1], frozen.classes)
    nn.init.normal_(head.weight, std=0.01, generator=_stream(seed, "probe", 0))
    nn.init.zeros_(head.bias)
    head.to(frozen.device)
    optimizer = torch.optim.SGD(head.parameters(), momentum=MOMENTUM, fused=True)
    top = min(schedule.top, frozen.classes - 1)  # of all classes it would be no choice
    best_accuracy, best_epoch, best = -1.0, 0, {}
    for epoch in range(1, schedule.epochs + 1):
        for group in optimizer.param_groups:
            group["lr"] = schedule.lr(epoch)
        for x, y in batches(epoch):
            optimizer.zero_grad()
            F.cross_entropy(head(x.to(frozen.device)), y.to(frozen.device)).backward()
            optimizer.step()
        if epoch % schedule.check_every == 0:
            accuracy = _accuracy(head, validation, top)
            if accuracy > best_accuracy:
                best_accuracy, best_epoch = accuracy, epoch
                best = {name: values.clone() for name, values in head.state_dict().items()}
    head.load_state_dict(best)
    predicted, val_predicted = (_scores(head, rows).argmax(dim=1).numpy() for rows in (frozen.test, validation))
    return ProbeResult(predicted[None], n_train, f"epoch {best_epoch} of {schedule.epochs}", val_predicted, best_accuracy)


@torch.no_grad()
def _scores(head: nn.Linear, rows: Rows) -> Tensor:
    return torch.cat([head(x.to(head.weight.device)).cpu() for x, _ in rows.blocks()])


def _accuracy(head: nn.Linear, rows: Rows, top: int) -> float:
    best = _scores(head, rows).topk(top, dim=1).indices
    return 100 * (best == rows.labels[:, None]).any(dim=1).double().mean().item()


def _stream(seed: int, purpose: str, epoch: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed_of(seed, purpose, epoch))
