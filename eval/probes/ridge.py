"""Ridge regression onto one-hot classes in closed form: nothing is drawn, and one decomposition serves every strength."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eval.features import Frozen, Rows
from eval.moments import moments
from eval.probes.base import Probe, ProbeResult, register

STRENGTHS = tuple(10.0**exponent for exponent in range(-6, 3))  # per training image
PROTOCOL = (
    "ridge regression onto one-hot classes, {}, on standardised cached features of unaugmented images: closed form, strength "
    "from 1e-6 to 100 a training image, best on validation top-1"
)
FLAT = 1e-12  # a feature with a smaller deviation says nothing and is left out


@dataclass(frozen=True)
class Fit:
    """Linear classifiers of several strengths, in float64 on the CPU."""

    mean: Tensor  # (d,) of the training features
    weight: Tensor  # (d, S, C)
    bias: Tensor  # (C,) share of each class among the training images

    def at(self, strength: int) -> "Fit":
        """That of one strength, by its number."""
        return Fit(self.mean, self.weight[:, strength : strength + 1].contiguous(), self.bias)

    def predict(self, rows: Rows) -> NDArray[np.int64]:
        """(S, n) classes, looking at a block of the rows at a time."""
        width, strengths, classes = self.weight.shape
        maps = self.weight.view(width, -1)
        found = []
        for x, _ in rows.blocks():
            scores = (x.double().sub_(self.mean) @ maps).view(len(x), strengths, classes).add_(self.bias)
            found.append(scores.argmax(dim=2))
        return torch.cat(found).T.numpy()


@dataclass(frozen=True)
class Choice:
    """The classifier that is best on validation."""

    fit: Fit
    strength: float
    val_predicted: NDArray[np.int64]  # (V,)
    val_accuracy: float  # per cent


def fit(train: Rows, classes: int, strengths: tuple[float, ...] = STRENGTHS) -> Fit:
    """Minimises the mean over images of ||W x + b - y||^2, plus a strength times ||W||^2, for each strength.

    Features are standardised by their own mean and deviation first. A class that does not occur in `train` has a score of
    exactly 0 everywhere; scores sum to 1, so it is never predicted.
    """
    found = moments(train, classes)
    std = (found.covariance.diagonal() * (len(train) / max(len(train) - 1, 1))).clamp(min=0).sqrt()
    scale = torch.where(std > FLAT, 1 / std, 0)
    values, vectors = torch.linalg.eigh(found.covariance * torch.outer(scale, scale))
    rotated = vectors.T @ (found.class_sums * scale / len(train)).T
    shrunk = rotated[:, None] / (values.clamp(min=0)[:, None] + torch.tensor(strengths, dtype=torch.float64))[:, :, None]
    weight = (scale[:, None] * vectors) @ shrunk.flatten(1)
    return Fit(found.mean, weight.view(len(scale), len(strengths), classes), found.class_counts / len(train))


def choose(train: Rows, validation: Rows, classes: int) -> Choice:
    """Fits every strength of `STRENGTHS` and takes the one with the best top-1 on validation, of equals the weakest."""
    fitted = fit(train, classes)
    predicted = fitted.predict(validation)
    accuracy = 100 * (predicted == validation.labels.numpy()).mean(axis=1)
    best = int(accuracy.argmax())
    return Choice(fitted.at(best), STRENGTHS[best], predicted[best], float(accuracy[best]))


class OnList(Probe):
    """What the probes of this file share: the best strength on validation, for one labelled list."""

    trains_on: ClassVar[str]  # the labelled list
    default: ClassVar[bool] = True

    def run(self, frozen: Frozen, seed: int) -> ProbeResult:
        train, validation = frozen.rows(getattr(frozen.lists, self.trains_on)), frozen.rows(frozen.lists.val)
        choice = choose(train, validation, frozen.classes)
        predicted = choice.fit.predict(frozen.test)
        chosen = f"strength {choice.strength:g}"
        return ProbeResult(predicted, len(train), chosen, choice.val_predicted, choice.val_accuracy)


@register("ridge")
class Ridge(OnList):
    """On all labelled training images."""

    protocol = PROTOCOL.format("full-shot")
    needs = ("train", "val")
    trains_on = "train"


@register("ridge-1pct")
class FewShotRidge(OnList):
    """On the split's few-shot list."""

    protocol = PROTOCOL.format("few-shot (1 % list of the split)")
    needs = ("fewshot", "val")
    trains_on = "fewshot"
