"""Profiles of a long-tailed CIFAR set: `sdclr`, Cao et al., `balanced`, and any imbalance ratio and size."""

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import inf

from core.errors import UserError, nearest
from core.words import counted
from data.benchmark import BALANCED, Profile
from data.lists.longtail import exponential_profile

OFFICIAL_RATIO = 100
OFFICIAL_SPLITS = 5
SPLITS = 1000  # upper bound, to catch mistakes
RATIO = "ir="  # prefix of profiles with another imbalance ratio
SIZE = "n="  # prefix of the size, after a comma


@dataclass(frozen=True)
class CifarProfiles(Mapping[str, Profile]):
    """Profiles by name: three named ones, `sdclr` first, and `ir=RATIO` and `ir=RATIO,n=SIZE` on look-up."""

    classes: int
    per_class: int  # training images per class
    held_out: int  # validation images per class
    cao: str  # name of the profile of Cao et al.
    cao_about: str

    @property
    def largest(self) -> int:
        """Images of the largest class without the validation images."""
        return self.per_class - self.held_out

    def __iter__(self) -> Iterator[str]:
        return iter(("sdclr", self.cao, BALANCED))

    def __len__(self) -> int:
        return 3

    def __getitem__(self, name: str) -> Profile:
        """Returns a profile. Raises KeyError for an unknown name, UserError for an impossible ratio or size."""
        if name == self.cao:
            counts = exponential_profile(self.per_class, OFFICIAL_RATIO, self.classes)
            return Profile(tuple(counts), SPLITS, self.cao_about, official=1)
        if name.startswith(RATIO):
            counts = self._counts(*ratio_and_size(name))
            about = f"defined by this suite: {counts[0]} to {counts[-1]} images per class, constructed like the SDCLR splits"
            return Profile(tuple(counts), SPLITS, about, official=0)
        counts = self._counts(OFFICIAL_RATIO)
        if name == BALANCED:
            each = sum(counts) // self.classes
            about = f"balanced SDCLR splits: {each} images per class; groups are those of the long-tailed set"
            return Profile((each,) * self.classes, SPLITS, about, official=OFFICIAL_SPLITS)
        if name != "sdclr":
            raise KeyError(name)
        about = (
            f"SDCLR splits: {counts[0]} to {counts[-1]} images per class, holdout of {self.held_out} per class; one class "
            "order per split"
        )
        return Profile(tuple(counts), SPLITS, about, official=OFFICIAL_SPLITS)

    def normalised(self, name: str) -> str:
        """Canonical name of a profile `ir=...`: a named profile if the class counts are equal.

        Raises:
            UserError: the name is malformed, or the ratio or size is impossible.
        """
        ratio, size = ratio_and_size(name)
        plain = f"{RATIO}{ratio:.12g}"
        counts = self[plain if size is None else f"{plain},{SIZE}{size}"].counts
        canonical = plain if size is None else f"{plain},{SIZE}{sum(counts)}"  # different sizes can give equal counts
        return next((other for other in ("sdclr", BALANCED, plain) if self[other].counts == counts), canonical)

    def _counts(self, ratio: float, size: int | None = None) -> list[int]:
        """Class counts, largest first; `size` bounds their sum by the choice of the largest class."""
        name = f"variant {RATIO}{ratio:.12g}" + (f",{SIZE}{size}" if size is not None else "")
        largest = self.largest
        if size is not None:
            largest = bisect_right(range(1, self.largest + 2), size, key=lambda n: self._total(n, ratio))
            if largest > self.largest:
                raise UserError(
                    f"{name} needs more than the {self.largest} available images per class; use a size of at most "
                    f"{self._total(self.largest, ratio)} or a larger ratio"
                )
        counts = exponential_profile(largest, ratio, self.classes)
        if counts[-1] < 1:
            most = f"; use a ratio of at most {largest}" if largest else ""
            raise UserError(
                f"{name} leaves the smallest of {self.classes} classes empty: the largest has "
                f"{counted(largest, 'image')}{most}" + (", or a larger size" if size is not None else "")
            )
        return counts

    def _total(self, largest: int, ratio: float) -> int:
        return sum(exponential_profile(largest, ratio, self.classes))


def ratio_and_size(profile: str) -> tuple[float, int | None]:
    """Parses `ir=RATIO` or `ir=RATIO,n=SIZE`, the ratio to twelve digits. Raises UserError for malformed names."""
    ratio_text, comma, size_text = profile.removeprefix(RATIO).partition(",")
    try:
        ratio = float(f"{float(ratio_text):.12g}")
    except ValueError:
        raise UserError(f"variant {profile} is not of the form {RATIO}NUMBER, e.g. {RATIO}50") from None
    if not 1 <= ratio < inf:
        raise UserError(f"variant {profile}: the imbalance ratio must be a number of at least 1, e.g. {RATIO}50")
    if not comma:
        return ratio, None
    digits = size_text.removeprefix(SIZE)
    if not (size_text.startswith(SIZE) and digits.isdecimal() and digits.isascii() and len(digits) < 10):
        raise UserError(f"variant {profile} is not of the form {RATIO}NUMBER,{SIZE}INTEGER, e.g. {RATIO}50,{SIZE}10000")
    return ratio, int(digits)


def similar_variant(name: str, variants: Iterable[str]) -> str:
    """Suggestion for an unknown variant: `ir=RATIO` for other spellings of a ratio, such as IR=50 and imb50, else `nearest`."""
    ratio = re.fullmatch(r"(?:ir|imb)?[ _:=-]?(\d[\d.]*(?:,n=\d+)?)", name, re.IGNORECASE | re.ASCII)
    return f"; did you mean '{RATIO}{ratio[1]}'?" if ratio else nearest(name, [*variants, RATIO + "NUMBER"])
