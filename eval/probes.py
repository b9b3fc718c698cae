"""Named probe protocols on frozen features. A number without its protocol's name means nothing: they do not agree."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from core.registry import Registry
from core.seeds import seed_of
from data.lists.longtail import Indices
from eval.features import FeatureSet


@dataclass(frozen=True)
class ProbeResult:
    """What a probe found."""

    predicted: NDArray[np.int64]  # (M,) classes of the test images
    val_predicted: NDArray[np.int64] | None  # classes of the validation images; None if it chooses nothing
    n_train: int  # labelled images it learned from
    n_val: int  # images it chose by; 0 if it chooses nothing
    val_accuracy: float | None  # per cent, of the choice; None if it chooses nothing
    chosen: str  # what it chose, in a few words


class Probe(ABC):
    """One protocol. It learns from labelled features, chooses on the validation part, and is tested once."""

    name: ClassVar[str]  # set by `register`
    protocol: ClassVar[str]  # one line for records and captions
    needs: ClassVar[tuple[str, ...]] = ("train", "val")  # index lists; a benchmark that lacks one cannot have this probe
    suite: ClassVar[bool] = True  # whether `--probes all` means it

    @abstractmethod
    def run(self, features: FeatureSet, seed: int) -> ProbeResult:
        """Runs the protocol; `seed` decides initial weights and batch order."""


PROBES: Registry[type[Probe]] = Registry("probe", package="eval")
register = PROBES.register  # decorator of a Probe; its argument is the name in tables and records


@register("sdclr-cached")
class SDCLRFullShot(Probe):
    """The SDCLR linear probe on the balanced training images, features cached without augmentation."""

    protocol = (
        "SDCLR linear probe, full-shot, on cached features of unaugmented images: SGD lr 30 (x0.1 at epochs 10, 20), "
        "momentum 0.9, batch 128, 30 epochs, best epoch on validation top-1"
    )

    def run(self, features: FeatureSet, seed: int) -> ProbeResult:
        return sdclr_linear(features, features.lists.train, seed, epochs=30, milestones=(10, 20), check_every=1)


@register("sdclr-cached-1pct")
class SDCLRFewShot(Probe):
    """The SDCLR linear probe on the split's few-shot list, features cached without augmentation."""

    protocol = (
        "SDCLR linear probe, few-shot (1 % list of the split), on cached features of unaugmented images: SGD lr 30 (x0.1 at "
        "epochs 40, 60), momentum 0.9, batch 128, 100 epochs, best of every fifth epoch on validation top-1"
    )
    needs = ("fewshot", "val")

    def run(self, features: FeatureSet, seed: int) -> ProbeResult:
        return sdclr_linear(features, features.lists.fewshot, seed, epochs=100, milestones=(40, 60), check_every=5)


@register("sdclr-cached-100shot")
class SDCLR100Shot(Probe):
    """The SDCLR linear probe on Geometric-Harmonization's list of a hundred images a class; this suite's combination."""

    protocol = (
        "SDCLR linear probe, 100-shot (list of Geometric-Harmonization), on cached features of unaugmented images: SGD lr 30 "
        "(x0.1 at epochs 10, 20), momentum 0.9, batch 128, 30 epochs, best epoch on validation top-1"
    )
    needs = ("shot100", "val")
    suite = False

    def run(self, features: FeatureSet, seed: int) -> ProbeResult:
        train = getattr(features.lists, self.needs[0])  # not every benchmark's lists have it
        return sdclr_linear(features, train, seed, epochs=30, milestones=(10, 20), check_every=1)


@register("knn")
class NearestNeighbours(Probe):
    """Weighted k nearest neighbours among the balanced training images; nothing is learned or chosen."""

    k: ClassVar[int] = 20
    temperature: ClassVar[float] = 0.07
    protocol = "kNN, cosine, k = 20, votes weighted by exp(s / 0.07) (Wu et al. 2018), among the full-shot images"
    needs = ("train",)

    def run(self, features: FeatureSet, seed: int) -> ProbeResult:
        bank, labels = features.rows(features.lists.train)
        bank = F.normalize(bank, dim=1)
        k = min(self.k, len(bank))
        predicted = []
        for queries in F.normalize(features.test, dim=1).split(1000):
            similarity, nearest = (queries @ bank.T).topk(k, dim=1)
            votes = torch.zeros(len(queries), features.classes)
            votes.scatter_add_(1, labels[nearest], ((similarity - 1) / self.temperature).exp())
            predicted.append(votes.argmax(dim=1))
        return ProbeResult(torch.cat(predicted).numpy(), None, len(bank), 0, None, "nothing")


@register("ridge")
class Ridge(Probe):
    """Ridge regression onto the classes in closed form; nothing is drawn at random."""

    strengths: ClassVar[tuple[float, ...]] = tuple(10.0**exponent for exponent in range(-6, 3))
    protocol = (
        "ridge regression onto one-hot classes, full-shot, on standardised cached features of unaugmented images: closed form, "
        "strength from 1e-6 to 100 a training image, best on validation top-1"
    )

    def run(self, features: FeatureSet, seed: int) -> ProbeResult:
        x, y = features.rows(features.lists.train)
        x_val, y_val = features.rows(features.lists.val)
        mean, std = x.double().mean(dim=0), x.double().std(dim=0).clamp(min=1e-12)
        x, x_val, x_test = ((part.double() - mean) / std for part in (x, x_val, features.test))
        target = F.one_hot(y, features.classes).double()
        centre = target.mean(dim=0)
        # one decomposition serves every strength
        values, vectors = torch.linalg.eigh(x.T @ x / len(x))
        rotated = vectors.T @ (x.T @ (target - centre) / len(x))
        best_accuracy, best_strength, best = -1.0, 0.0, torch.empty(0)
        for strength in self.strengths:
            maps = vectors @ (rotated / (values.clamp(min=0) + strength)[:, None])
            accuracy = 100 * ((x_val @ maps + centre).argmax(dim=1) == y_val).double().mean().item()
            if accuracy > best_accuracy:
                best_accuracy, best_strength, best = accuracy, strength, maps
        predicted, val_predicted = ((part @ best + centre).argmax(dim=1).numpy() for part in (x_test, x_val))
        return ProbeResult(predicted, val_predicted, len(x), len(x_val), best_accuracy, f"strength {best_strength:g}")


def sdclr_linear(
    features: FeatureSet, train: Indices, seed: int, epochs: int, milestones: tuple[int, int], check_every: int
) -> ProbeResult:
    """Trains a linear classifier as VITA-Group/SDCLR, `train_cifar.py`, and tests the epoch that is best on validation.

    As in the reference's CIFAR script the rate falls at the start of a milestone's epoch: epochs 1 to 9 at lr 30, from 10 on at
    3, from 20 on at 0.3 in the full-shot form. Features are not normalised.

    Args:
        features: of one frozen backbone.
        train: labelled images.
        seed: of initial weights and batch order.
        epochs: passes over them.
        milestones: epochs (from 1) at which the rate is divided by ten.
        check_every: epochs between looks at the validation accuracy.
    """
    generator = torch.Generator().manual_seed(seed_of(seed, "probe"))
    x, y = features.rows(train)
    x_val, y_val = features.rows(features.lists.val)
    head = nn.Linear(x.shape[1], features.classes)
    nn.init.normal_(head.weight, std=0.01, generator=generator)
    nn.init.zeros_(head.bias)
    optimizer = torch.optim.SGD(head.parameters(), momentum=0.9, fused=True)
    best_accuracy, best_epoch, best, best_val = -1.0, 0, torch.empty(0), torch.empty(0)
    for epoch in range(1, epochs + 1):
        for group in optimizer.param_groups:
            group["lr"] = 30.0 * 0.1 ** sum(epoch >= milestone for milestone in milestones)
        for index in torch.randperm(len(x), generator=generator).split(128):
            optimizer.zero_grad()
            F.cross_entropy(head(x[index]), y[index]).backward()
            optimizer.step()
        if epoch % check_every == 0:
            accuracy = _accuracy(head, x_val, y_val)
            if accuracy > best_accuracy:
                best_accuracy, best_epoch = accuracy, epoch
                best, best_val = _predict(head, features.test), _predict(head, x_val)
    chosen = f"epoch {best_epoch} of {epochs}"
    return ProbeResult(best.numpy(), best_val.numpy(), len(x), len(x_val), best_accuracy, chosen)


@torch.no_grad()
def _predict(head: nn.Linear, x: Tensor) -> Tensor:
    return head(x).argmax(dim=1)


def _accuracy(head: nn.Linear, x: Tensor, y: Tensor) -> float:
    return 100 * (_predict(head, x) == y).double().mean().item()
