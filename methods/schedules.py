"""Hyper-parameters that depend on the epoch: durations and temperature schedules.

Papers state both for runs of 2000 epochs. A duration that scales with the run is written as a percentage of its epochs, so
that a run of 60 epochs has the same schedule in proportion.
"""

import math

from core.errors import UserError
from core.words import counted

MIN_TEMPERATURE = 1e-3  # below it, float32 does not resolve differences of similarities divided by the temperature


class Duration(str):
    """A duration: `25` epochs, or `1.25%` of the run's epochs. Raises ValueError for other text."""

    form = "EPOCHS|SHARE%"

    def __new__(cls, text: str) -> "Duration":
        if not 0 <= float(text.removesuffix("%")) < math.inf:
            raise ValueError(text)
        return super().__new__(cls, text)

    def epochs(self, run: int) -> float:
        """The duration in epochs, in a run of `run` epochs."""
        return float(self.removesuffix("%")) / 100 * run if self.endswith("%") else float(self)

    def whole(self, run: int) -> int:
        """The duration in whole epochs, rounded half up; at most `run` - 1 if it is shorter than the run."""
        length = self.epochs(run)
        rounded = math.floor(length + 0.5)
        return min(rounded, run - 1) if 0 < length < run else rounded


class Cosine(str):
    """A temperature that oscillates between two values: `cosine:LOW:HIGH:PERIOD`, with a `Duration` as the period.

    Kukleva et al., ICLR 2023, arXiv:2303.13664, Algorithm 1. Raises ValueError for other text.
    """

    form = "cosine:LOW:HIGH:PERIOD"

    def __new__(cls, text: str) -> "Cosine":
        name, low, high, period = text.split(":")
        if name != "cosine" or not all(MIN_TEMPERATURE <= float(value) < math.inf for value in (low, high)):
            raise ValueError(text)
        if Duration(period).epochs(1) <= 0:
            raise ValueError(text)
        return super().__new__(cls, text)

    def at(self, epoch: int, run: int) -> float:
        """LOW + (HIGH - LOW) (1 + cos(2 pi e / PERIOD)) / 2 with e counted from 1.

        Args:
            epoch: from 0.
            run: epochs of the run.
        """
        _, low, high, period = self.split(":")
        turn = (epoch + 1) / Duration(period).epochs(max(run, 1))  # max: runs of 0 epochs, untrained networks, are allowed
        return float(low) + (float(high) - float(low)) * 0.5 * (1 + math.cos(2 * math.pi * turn))


Temperature = float | Cosine


def temperature_at(temperature: Temperature, epoch: int, run: int) -> float:
    """The temperature in epoch `epoch` (from 0) of a run of `run` epochs."""
    return temperature.at(epoch, run) if isinstance(temperature, Cosine) else temperature


def due(epoch: int, run: int, first: Duration, every: Duration) -> bool:
    """Whether `epoch` (from 0) is 0, 1, 2, ... times `every` after `first`; `every` counts as at least one epoch."""
    since = epoch - first.whole(run)
    return since >= 0 and since % max(1, every.whole(run)) == 0


def check_warmup(name: str, warmup: Duration, run: int) -> None:
    """Raises UserError if the warm-up of the method `name` is not shorter than the run of `run` epochs."""
    if run and warmup.epochs(run) >= run:
        raise UserError(
            f"{name}.warmup={warmup} is as long as the run of {counted(run, 'epoch')}, or longer: the method would not start; "
            "lower it"
        )
