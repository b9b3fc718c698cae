"""Base class of probes: trained on labelled features, selected on validation images, evaluated once on test images."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from core.registry import Registry
from data.lists.longtail import IndexLists
from eval.features import FrozenFeatures


@dataclass(frozen=True)
class ProbeResult:
    """Predictions of a probe for D draws of the labelled images; D = 1 for a probe without draws."""

    predicted: NDArray[np.int64]  # (D, M) predicted classes of the test images
    n_train: int  # labelled images of each draw
    chosen: str  # result of model selection, in words
    val_predicted: NDArray[np.int64] | None = None  # (V,) predictions on validation images; None without model selection
    val_accuracy: float | None = None  # per cent, of the selected model; None without model selection
    curve: list[dict[str, float]] | None = None  # points in ascending order, for a probe that varies a parameter


@dataclass(frozen=True)
class GeometryResult:
    """Geometry of the test features, overall and by group: keys all, many, medium, few; None if undefined (empty group)."""

    alignment: dict[str, float | None]
    uniformity: dict[str, float | None]
    effective_rank: dict[str, float | None]


class Probe(ABC):
    """A probe protocol."""

    name: ClassVar[str]  # set by `register`
    protocol: ClassVar[str]  # one line for records and captions
    protocol_in_files: ClassVar[str | None] = None  # for benchmarks whose images are files, if it differs
    needs: ClassVar[tuple[str, ...]] = ("train", "val")  # required index lists
    passes: ClassVar[float] = 0.0  # extra passes over all labelled images through the backbone, for time estimates
    default: ClassVar[bool] = False  # whether it runs without `--probes`

    @abstractmethod
    def run(self, frozen: FrozenFeatures, seed: int) -> ProbeResult | GeometryResult:
        """Runs the protocol. The result is a deterministic function of the features and `seed`."""

    @classmethod
    def feature_lists(cls, lists: IndexLists) -> tuple[str, ...]:
        """Names of the index lists whose unaugmented features it uses; they are extracted once for all probes."""
        return cls.needs

    @classmethod
    def describe(cls, in_files: bool) -> str:
        """The protocol in one line, for a benchmark whose images are files or in memory."""
        return cls.protocol_in_files if in_files and cls.protocol_in_files else cls.protocol


PROBES: Registry[type[Probe]] = Registry("probe", package="eval.probes")
register = PROBES.register  # decorator of a Probe; its argument is the name in tables and records
