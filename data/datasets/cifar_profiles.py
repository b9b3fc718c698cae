"""The profiles of a long-tailed CIFAR set: two named ones, the balanced twin, and by their spelling any ratio and any size."""

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import inf

from core.errors import UserError
from data.benchmark import BALANCED, Profile
from data.lists.longtail import exponential_profile

OFFICIAL_RATIO = 100
OFFICIAL_SPLITS = 5
SPLITS = 1000  # as many as anyone will want; the bound catches slips
RATIO = "ir="  # how the profile of another imbalance ratio begins
SIZE = "n="  # what follows, after a comma, where another size is asked for too


@dataclass(frozen=True)
class CifarProfiles(Mapping[str, Profile]):
    """The named profiles of a CIFAR set, `sdclr` first; by `ir=RATIO` and `ir=RATIO,n=SIZE` any other ratio and size of it."""

    classes: int
    per_class: int  # training images of a class
    held_out: int  # of them, for validation
    cao: str  # name of Cao et al.'s profile
    cao_about: str

    @property
    def largest(self) -> int:
        """Images of the largest class once the validation images are held out."""
        return self.per_class - self.held_out

    def __iter__(self) -> Iterator[str]:
        return iter(("sdclr", self.cao, BALANCED))

    def __len__(self) -> int:
        return 3

    def __getitem__(self, name: str) -> Profile:
        """Raises KeyError for another name, UserError for a ratio or size that cannot be."""
        if name == self.cao:
            counts = exponential_profile(self.per_class, OFFICIAL_RATIO, self.classes)
            return Profile(tuple(counts), SPLITS, self.cao_about, official=1)
        if name.startswith(RATIO):
            counts = self._counts(*ratio_and_size(name))
            about = f"this suite's: {counts[0]} to {counts[-1]} images a class by the construction of the SDCLR splits"
            return Profile(tuple(counts), SPLITS, about, official=0)
        counts = self._counts(OFFICIAL_RATIO)
        if name == BALANCED:
            each = sum(counts) // self.classes
            about = f"balanced twins of the SDCLR splits: {each} images of every class; groups are those of the long-tailed set"
            return Profile((each,) * self.classes, SPLITS, about, official=OFFICIAL_SPLITS)
        if name != "sdclr":
            raise KeyError(name)
        about = (
            f"SDCLR splits: {counts[0]} to {counts[-1]} images a class after {self.held_out} a class are held out; own class "
            "order a split"
        )
        return Profile(tuple(counts), SPLITS, about, official=OFFICIAL_SPLITS)

    def spelled(self, name: str) -> str:
        """A profile `ir=...` in its one spelling; where its classes are as large as a named profile's, that profile.

        Raises:
            UserError: the name is not of the form, or there cannot be such a profile.
        """
        ratio, size = ratio_and_size(name)
        plain = f"{RATIO}{ratio:.12g}"
        counts = self[plain if size is None else f"{plain},{SIZE}{size}"].counts
        spelled = plain if size is None else f"{plain},{SIZE}{sum(counts)}"  # sizes in between give the same images
        return next((other for other in ("sdclr", BALANCED, plain) if self[other].counts == counts), spelled)

    def _counts(self, ratio: float, size: int | None = None) -> list[int]:
        """Images of the classes, largest first: with `size`, as many of the largest as leave at most so many in all."""
        name = f"profile {RATIO}{ratio:.12g}" + (f",{SIZE}{size}" if size is not None else "")
        largest = self.largest
        if size is not None:
            largest = bisect_right(range(1, self.largest + 2), size, key=lambda n: self._total(n, ratio))
            if largest > self.largest:
                raise UserError(
                    f"{name} needs more than the {self.largest} images of a class that there are; give a size of at most "
                    f"{self._total(self.largest, ratio)}, or a larger ratio where that is too few"
                )
        counts = exponential_profile(largest, ratio, self.classes)
        if counts[-1] < 1:
            most = f"; give a ratio of at most {largest}" if largest else ""
            raise UserError(
                f"{name} leaves the smallest of {self.classes} classes empty: the largest has {largest} images{most}"
                + (", or a larger size" if size is not None else "")
            )
        return counts

    def _total(self, largest: int, ratio: float) -> int:
        return sum(exponential_profile(largest, ratio, self.classes))


def ratio_and_size(profile: str) -> tuple[float, int | None]:
    """What a profile `ir=RATIO` or `ir=RATIO,n=SIZE` names, the ratio to twelve digits. Raises UserError for other forms."""
    ratio_text, comma, size_text = profile.removeprefix(RATIO).partition(",")
    try:
        ratio = float(f"{float(ratio_text):.12g}")
    except ValueError:
        raise UserError(f"profile {profile} is not of the form {RATIO}NUMBER, such as {RATIO}50") from None
    if not 1 <= ratio < inf:
        raise UserError(f"profile {profile}: the largest class over the smallest is a number from 1 on, such as {RATIO}50")
    if not comma:
        return ratio, None
    digits = size_text.removeprefix(SIZE)
    if not (size_text.startswith(SIZE) and digits.isdecimal() and digits.isascii() and len(digits) < 10):
        raise UserError(
            f"profile {profile} is not of the form {RATIO}NUMBER,{SIZE}NUMBER, the latter whole, such as {RATIO}50,{SIZE}10000"
        )
    return ratio, int(digits)
