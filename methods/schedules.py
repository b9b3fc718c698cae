"""Settings that depend on where a run is: lengths of time, and temperatures.

Papers give both in epochs of 2000. Where a length is meant as a part of the run it is written as a share, so that a run of 60
epochs is the same method in small.
"""

import math

from core.errors import UserError

LOWEST = 1e-3  # of temperatures: below, similarities over them leave no digits for their differences


class Duration(str):
    """A length of time: `25` epochs, or `1.25%` of the run's epochs. Raises ValueError for other text."""

    form = "EPOCHS|SHARE%"

    def __new__(cls, text: str) -> "Duration":
        if not 0 <= float(text.removesuffix("%")) < math.inf:
            raise ValueError(text)
        return super().__new__(cls, text)

    def epochs(self, run: int) -> float:
        """The length in epochs, in a run of `run` epochs."""
        return float(self.removesuffix("%")) / 100 * run if self.endswith("%") else float(self)

    def whole(self, run: int) -> int:
        """The length in whole epochs, rounded; that of a part of the run leaves its last epoch."""
        length = self.epochs(run)
        rounded = math.floor(length + 0.5)
        return min(rounded, run - 1) if 0 < length < run else rounded


class Cosine(str):
    """A temperature that swings between two values: `cosine:LOW:HIGH:PERIOD`, the period a `Duration`.

    Kukleva et al., ICLR 2023, arXiv:2303.13664, Algorithm 1. Raises ValueError for other text.
    """

    form = "cosine:LOW:HIGH:PERIOD"

    def __new__(cls, text: str) -> "Cosine":
        name, low, high, period = text.split(":")
        if name != "cosine" or not all(LOWEST <= float(value) < math.inf for value in (low, high)):
            raise ValueError(text)
        if Duration(period).epochs(1) <= 0:
            raise ValueError(text)
        return super().__new__(cls, text)

    def at(self, epoch: int, run: int) -> float:
        """LOW + (HIGH - LOW) (1 + cos(2 pi e / PERIOD)) / 2 with e counted from 1.

        Args:
            epoch: number of the epoch, from 0.
            run: epochs of the run.
        """
        _, low, high, period = self.split(":")
        turn = (epoch + 1) / Duration(period).epochs(max(run, 1))  # an untrained network has a temperature too
        return float(low) + (float(high) - float(low)) * 0.5 * (1 + math.cos(2 * math.pi * turn))


Temperature = float | Cosine


def temperature_at(temperature: Temperature, epoch: int, run: int) -> float:
    """Value of a temperature in epoch `epoch` (from 0) of a run of `run` epochs."""
    return temperature.at(epoch, run) if isinstance(temperature, Cosine) else temperature


def due(epoch: int, run: int, first: Duration, every: Duration) -> bool:
    """Whether something done after `first` and then again after each `every` is done at the start of an epoch (from 0)."""
    since = epoch - first.whole(run)
    return since >= 0 and since % max(1, every.whole(run)) == 0


def check_warmup(name: str, warmup: Duration, run: int) -> None:
    """Raises UserError for a warm-up of the method `name` that its run would not outlast."""
    if run and warmup.epochs(run) >= run:
        raise UserError(
            f"{name}.warmup={warmup} is as long as the run of {run} epochs, or longer: the method would never begin; lower it"
        )
