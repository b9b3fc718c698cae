"""Ridge regression onto one-hot classes in closed form: deterministic, one eigendecomposition for all strengths."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eval.features import FrozenFeatures, LabelledFeatures
from eval.moments import moments
from eval.probes.base import Probe, ProbeResult, register

STRENGTHS = tuple(10.0**exponent for exponent in range(-6, 3))  # per training image
PROTOCOL = (
    "ridge regression onto one-hot classes, {}, on standardised cached features of unaugmented images: closed form, strength "
    "from 1e-6 to 100 a training image, best on validation top-1"
)
FLAT = 1e-12  # feature dimensions with a smaller standard deviation are ignored


@dataclass(frozen=True)
class Fit:
    """Linear classifiers for S regularisation strengths, in float64 on the CPU."""

    mean: Tensor  # (d,) of the training features
    bias: Tensor  # (C,) fraction of each class among the training images
    axes: Tensor  # (d, d) principal axes of the standardised features, as columns, with the scale of each feature
    values: Tensor  # (d,) variances along them
    projected: Tensor  # (d, C) covariances of the classes with them
    strengths: tuple[float, ...]  # S

    def at(self, strength: int) -> "Fit":
        """Selects one strength by its index."""
        return replace(self, strengths=self.strengths[strength : strength + 1])

    def weight(self, strength: float) -> Tensor:
        """(d, C) weights for one strength."""
        return self.axes @ (self.projected / (self.values + strength)[:, None])

    def predict(self, rows: LabelledFeatures) -> NDArray[np.int64]:
        """Predicts the classes, (S, n), block by block."""
        # one strength at a time: scores for all of them would need gigabytes with thousands of classes
        weights = (self.weight(strength) for strength in self.strengths)
        return torch.stack([self._classify(rows, weight) for weight in weights]).numpy()

    def _classify(self, rows: LabelledFeatures, weight: Tensor) -> Tensor:
        """(n,) classes with the highest score."""
        return torch.cat([((x.double() - self.mean) @ weight).add_(self.bias).argmax(dim=1) for x, _ in rows.blocks()])


@dataclass(frozen=True)
class Choice:
    """The classifier with the best validation accuracy."""

    fit: Fit
    strength: float
    val_predicted: NDArray[np.int64]  # (V,)
    val_accuracy: float  # per cent


def fit(train: LabelledFeatures, classes: int, strengths: tuple[float, ...] = STRENGTHS) -> Fit:
    """Minimises the mean over images of ||W x + b - y||^2, plus strength times ||W||^2, for each strength.

    Features are standardised by the mean and standard deviation of `train`. A class without training images has a score of
    exactly 0 and, as scores sum to 1, is never predicted.
    """
    found = moments(train, classes)
    std = (found.covariance.diagonal() * (len(train) / max(len(train) - 1, 1))).clamp(min=0).sqrt()
    scale = torch.where(std > FLAT, 1 / std, 0)
    values, vectors = torch.linalg.eigh(found.covariance * torch.outer(scale, scale))
    projected = vectors.T @ (found.class_sums * scale / len(train)).T
    return Fit(found.mean, found.class_counts / len(train), scale[:, None] * vectors, values.clamp(min=0), projected, strengths)


def choose(train: LabelledFeatures, validation: LabelledFeatures, classes: int) -> Choice:
    """Fits every strength of `STRENGTHS` and selects the best validation top-1; ties go to the weakest."""
    fitted = fit(train, classes)
    predicted = fitted.predict(validation)
    accuracy = 100 * (predicted == validation.labels.numpy()).mean(axis=1)
    best = int(accuracy.argmax())
    return Choice(fitted.at(best), STRENGTHS[best], predicted[best], float(accuracy[best]))


class OnList(Probe):
    """Base of the ridge probes: one labelled index list, strength selected on validation."""

    trains_on: ClassVar[str]  # name of the labelled index list
    default: ClassVar[bool] = True

    def run(self, frozen: FrozenFeatures, seed: int) -> ProbeResult:
        train, validation = frozen.unaugmented(getattr(frozen.lists, self.trains_on)), frozen.unaugmented(frozen.lists.val)
        choice = choose(train, validation, frozen.classes)
        predicted = choice.fit.predict(frozen.test)
        chosen = f"strength {choice.strength:g}"
        return ProbeResult(predicted, len(train), chosen, choice.val_predicted, choice.val_accuracy)


@register("ridge")
class Ridge(OnList):
    """Ridge probe on all labelled training images."""

    protocol = PROTOCOL.format("full-shot")
    needs = ("train", "val")
    trains_on = "train"


@register("ridge-1pct")
class FewShotRidge(OnList):
    """Ridge probe on the few-shot list of the split."""

    protocol = PROTOCOL.format("few-shot (1 % list of the split)")
    needs = ("fewshot", "val")
    trains_on = "fewshot"
