"""Linear probe of SDCLR, COLT and MAK: SGD with learning rate 30, best epoch on validation.

Reference: VITA-Group/SDCLR, `train_cifar.py` and `train_imagenet.py`. `sdclr` follows it exactly: every epoch passes newly
augmented images through the frozen network, in float32. `sdclr-cached` trains the same head on cached features of a fixed
number of augmented passes, used in rotation by the epochs, at the precision of the run. docs/cpu_preset.md compares the two.
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
from eval.features import FrozenFeatures, LabelledFeatures
from eval.probes.base import Probe, ProbeResult, register

LR, MOMENTUM = 30.0, 0.9


@dataclass(frozen=True)
class Schedule:
    """Training schedule and epoch selection of the head."""

    epochs: int
    milestones: tuple[int, int]  # epochs at which the learning rate is divided by 10
    check_every: int  # epochs between evaluations on validation
    passes: int  # augmented passes that `sdclr-cached` caches: the fewest that match a new pass in each epoch
    batch: int = 128
    early: bool = True  # whether the learning rate is divided before the epoch of a milestone, counted from 1, or after it
    top: int = 1  # k of the top-k accuracy that selects the epoch

    def lr(self, epoch: int) -> float:
        """Learning rate of an epoch, counted from 1."""
        return LR * 0.1 ** sum(epoch >= milestone + (not self.early) for milestone in self.milestones)

    def cached(self, weak: str) -> str:
        """Description of the cached features, for `protocol`."""
        return f"cached features of {self.passes} augmented pass{'es in turns' if self.passes > 1 else ''} ({weak})"

    def text(self) -> str:
        """Description of the schedule, for `protocol`."""
        first, second = (f"{'from' if self.early else 'after'} epoch {milestone}" for milestone in self.milestones)
        interval = {1: "", 2: " of every second"}.get(self.check_every, f" of every {self.check_every}")
        return (
            f"SGD lr {LR:g} (x0.1 {first}, again {second}), momentum {MOMENTUM:g}, batch {self.batch}, {self.epochs} epochs, "
            f"best{interval} on validation top-{self.top}"
        )


WEAK = "shifted by up to 4 of 32 px, mirrored"
WEAK_IN_FILES = "RandomResizedCrop, mirrored"
EXACT = "augmented images ({}) through the frozen network in every epoch, in float32"
FULL, FEW = "SDCLR linear probe, full-shot", "SDCLR linear probe, few-shot (1 % list of the split)"
CIFAR_FULL = Schedule(epochs=30, milestones=(10, 20), check_every=1, passes=1)
CIFAR_FEW = Schedule(epochs=100, milestones=(40, 60), check_every=5, passes=20)
FILES_FULL = Schedule(epochs=30, milestones=(10, 20), check_every=2, passes=1, batch=512, early=False, top=5)
FILES_FEW = Schedule(epochs=100, milestones=(40, 60), check_every=10, passes=20, batch=512, early=False, top=5)


class SDCLR(Probe):
    """Base of the SDCLR probes: head, schedule and epoch selection."""

    trains_on: ClassVar[str]  # name of the labelled index list
    cifar: ClassVar[Schedule]  # for images in memory
    files: ClassVar[Schedule]  # for image files: the reference's schedule for ImageNet

    @classmethod
    def feature_lists(cls, lists: IndexLists) -> tuple[str, ...]:
        return ("val",)  # training images are augmented

    @abstractmethod
    def epochs(self, frozen: FrozenFeatures, seed: int, schedule: Schedule) -> Callable[[int], Iterator[tuple[Tensor, Tensor]]]:
        """Returns a function from an epoch, counted from 1, to its batches of features (b, d) and labels (b,)."""

    def run(self, frozen: FrozenFeatures, seed: int) -> ProbeResult:
        schedule = self.files if frozen.in_files else self.cifar
        frozen = self.prepare(frozen)
        batches = self.epochs(frozen, seed, schedule)
        return train_head(frozen, batches, len(getattr(frozen.lists, self.trains_on)), seed, schedule)

    def prepare(self, frozen: FrozenFeatures) -> FrozenFeatures:
        """Returns the features that the head is trained and tested on."""
        return frozen


class Exact(SDCLR):
    """Passes augmented images through the frozen network in every epoch, in float32, as the reference does."""

    def prepare(self, frozen: FrozenFeatures) -> FrozenFeatures:
        return frozen.in_fp32(("val",))

    def epochs(self, frozen: FrozenFeatures, seed: int, schedule: Schedule) -> Callable[[int], Iterator[tuple[Tensor, Tensor]]]:
        train = getattr(frozen.lists, self.trains_on)
        frozen.counter.expect(schedule.epochs * len(train))

        def batches(epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
            order = torch.randperm(len(train), generator=_stream(seed, "order", epoch)).numpy()
            return frozen.augmented_batches(train[order], seed_of(seed, "probe views", epoch), schedule.batch)

        return batches


class Cached(SDCLR):
    """Trains on cached features of `Schedule.passes` augmented passes, used in rotation by the epochs."""

    def epochs(self, frozen: FrozenFeatures, seed: int, schedule: Schedule) -> Callable[[int], Iterator[tuple[Tensor, Tensor]]]:
        train = getattr(frozen.lists, self.trains_on)
        passes = [frozen.augmented(train, seed, "probe views", draw) for draw in range(1, schedule.passes + 1)]

        def batches(epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
            rows: LabelledFeatures = passes[(epoch - 1) % schedule.passes]
            for which in torch.randperm(len(rows), generator=_stream(seed, "order", epoch)).split(schedule.batch):
                yield rows[which]

        return batches


@register("sdclr")
class FullShot(Exact):
    """Probe of the reference on the balanced training images."""

    protocol = f"{FULL}, {EXACT.format(WEAK)}: {CIFAR_FULL.text()}"
    protocol_in_files = f"{FULL}, {EXACT.format(WEAK_IN_FILES)}: {FILES_FULL.text()}"
    needs = ("train", "val")
    passes = 0.75 * CIFAR_FULL.epochs
    trains_on, cifar, files = "train", CIFAR_FULL, FILES_FULL


@register("sdclr-1pct")
class FewShot(Exact):
    """Probe of the reference on the few-shot list of the split."""

    protocol = f"{FEW}, {EXACT.format(WEAK)}: {CIFAR_FEW.text()}"
    protocol_in_files = f"{FEW}, {EXACT.format(WEAK_IN_FILES)}: {FILES_FEW.text()}"
    needs = ("fewshot", "val")
    passes = 0.01 * CIFAR_FEW.epochs
    trains_on, cifar, files = "fewshot", CIFAR_FEW, FILES_FEW


@register("sdclr-cached")
class CachedFullShot(Cached):
    """Probe with cached features of the balanced training images."""

    protocol = f"{FULL}, {CIFAR_FULL.cached(WEAK)}: {CIFAR_FULL.text()}"
    protocol_in_files = f"{FULL}, {FILES_FULL.cached(WEAK_IN_FILES)}: {FILES_FULL.text()}"
    needs = ("train", "val")
    passes = 0.75 * CIFAR_FULL.passes
    trains_on, cifar, files = "train", CIFAR_FULL, FILES_FULL


@register("sdclr-cached-1pct")
class CachedFewShot(Cached):
    """Probe with cached features of the few-shot list of the split."""

    protocol = f"{FEW}, {CIFAR_FEW.cached(WEAK)}: {CIFAR_FEW.text()}"
    protocol_in_files = f"{FEW}, {FILES_FEW.cached(WEAK_IN_FILES)}: {FILES_FEW.text()}"
    needs = ("fewshot", "val")
    passes = 0.01 * CIFAR_FEW.passes
    trains_on, cifar, files = "fewshot", CIFAR_FEW, FILES_FEW


def train_head(
    frozen: FrozenFeatures,
    batches: Callable[[int], Iterator[tuple[Tensor, Tensor]]],
    n_train: int,
    seed: int,
    schedule: Schedule,
) -> ProbeResult:
    """Trains a linear classifier and tests the epoch with the best validation accuracy.

    Weights are initialised from N(0, 0.01^2), biases to 0. Features are not normalised. The test images are evaluated once,
    with the selected head.

    Args:
        frozen: features of the backbone.
        batches: returns the batches of an epoch, counted from 1.
        n_train: number of labelled images, for the result.
        seed: of the initial weights.
        schedule: training schedule and epoch selection.
    """
    validation = frozen.unaugmented(frozen.lists.val)
    head = nn.Linear(frozen.test.bank.shape[1], frozen.classes)
    nn.init.normal_(head.weight, std=0.01, generator=_stream(seed, "probe", 0))
    nn.init.zeros_(head.bias)
    head.to(frozen.device)
    optimizer = torch.optim.SGD(head.parameters(), momentum=MOMENTUM, fused=True)
    top = min(schedule.top, frozen.classes - 1)  # top-C is always 100 %
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
def _scores(head: nn.Linear, rows: LabelledFeatures) -> Tensor:
    return torch.cat([head(x.to(head.weight.device)).cpu() for x, _ in rows.blocks()])


def _accuracy(head: nn.Linear, rows: LabelledFeatures, top: int) -> float:
    best = _scores(head, rows).topk(top, dim=1).indices
    return 100 * (best == rows.labels[:, None]).any(dim=1).double().mean().item()


def _stream(seed: int, purpose: str, epoch: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed_of(seed, purpose, epoch))
