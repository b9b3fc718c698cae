"""What a probe is: a protocol that learns from labelled features, chooses on the validation part, and is tested once."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from core.registry import Registry
from data.lists.longtail import IndexLists
from eval.features import Frozen


@dataclass(frozen=True)
class ProbeResult:
    """What a probe found: predictions for D draws of the labelled images, one where nothing is drawn."""

    predicted: NDArray[np.int64]  # (D, M) classes of the test images
    n_train: int  # labelled images it learned from, in each draw
    chosen: str  # what it chose, in a few words
    val_predicted: NDArray[np.int64] | None = None  # (V,) classes of the validation images; None if it chooses nothing
    val_accuracy: float | None = None  # per cent, of the choice; None if it chooses nothing
    curve: list[dict[str, float]] | None = None  # for a probe that varies something: a point each, in ascending order


@dataclass(frozen=True)
class GeometryResult:
    """The geometry of the test images' features, for all and by group: keys all, many, medium, few; None for an empty group."""

    alignment: dict[str, float | None]
    uniformity: dict[str, float | None]
    effective_rank: dict[str, float | None]


class Probe(ABC):
    """One protocol."""

    name: ClassVar[str]  # set by `register`
    protocol: ClassVar[str]  # one line for records and captions
    protocol_in_files: ClassVar[str | None] = None  # the same on benchmarks of pictures in files, where it differs there
    needs: ClassVar[tuple[str, ...]] = ("train", "val")  # index lists; a benchmark that lacks one cannot have this probe
    passes: ClassVar[float] = 0.0  # of about as many images as its benchmark labels, through the network: for estimates of time
    default: ClassVar[bool] = False  # whether it runs unless others are chosen

    @abstractmethod
    def run(self, frozen: Frozen, seed: int) -> ProbeResult | GeometryResult:
        """Runs the protocol; `seed` decides all that it draws. The same features and seed give the same result."""

    @classmethod
    def feature_lists(cls, lists: IndexLists) -> tuple[str, ...]:
        """Those of a benchmark's lists whose unaugmented features it looks at: they are extracted once, for all probes."""
        return cls.needs

    @classmethod
    def describe(cls, in_files: bool) -> str:
        """The protocol in one line, on a benchmark whose images stay in files or not."""
        return cls.protocol_in_files if in_files and cls.protocol_in_files else cls.protocol


PROBES: Registry[type[Probe]] = Registry("probe", package="eval.probes")
register = PROBES.register  # decorator of a Probe; its argument is the name in tables and records
