"""What one figure shows: records that may be compared, by method; and the words that say where they are from."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from reports import captions
from reports.comparable import COMPARABLE, SETTING, Title, by_method, comparable, method_key, one_a_run, table_name
from run_store.records import Record

F = TypeVar("F", bound=Record)


@dataclass(frozen=True)
class Sketch:
    """A figure before it is written."""

    kind: str  # part of its file name
    title: str  # what it shows, in a few words
    figure: Figure
    about: str  # the sentences of the caption that say what is drawn, and how


@dataclass(frozen=True)
class Series(Generic[F]):
    """The runs of one method under one set of hyper-parameters."""

    label: str  # as printed
    place: int  # of the method in the report, which decides its look
    found: Sequence[F]  # by split and seed


@dataclass(frozen=True)
class Setting(Generic[F]):
    """What one figure shows."""

    series: Sequence[Series[F]]
    probe: str  # empty for what has to do with none
    profile: str  # empty for what goes over several
    key: str  # what its records agree in

    @property
    def first(self) -> F:
        """Stands for all in what they share."""
        return self.series[0].found[0]

    @property
    def line(self) -> str:
        """Where the numbers are from, in a few words."""
        f = self.first
        profile = self.profile and f"profile {self.profile}"
        words = [f.dataset, profile, self.probe, captions.SCALES.get(f.preset, f"preset {f.preset}"), f.mark]
        return " · ".join(word for word in words if word)

    @property
    def caption(self) -> str:
        """All that a reader needs to place the numbers, in plain text."""
        f = self.first
        found = [record for one in self.series for record in one.found]
        if self.profile:
            data, training = f.data, captions.training(f)
        else:
            sizes = sorted({one.n_pretrain for one in found})
            data = "; ".join(sorted({one.data for one in found}))
            training = captions.training(f, f"{sizes[0]} to {sizes[-1]} images")
        subject = (captions.subject(f) if self.profile else f.dataset) + (f", {f.mark}" if f.mark else "")
        probe = f", probe {captions.probe_title(self.probe)}" if self.probe else ""
        numbers = sorted({len({(f.split, f.seed) for f in one.found}) for one in self.series})
        n = f"{numbers[0]} to {numbers[-1]}" if len(numbers) > 1 else f"{numbers[0]}"
        return f"{subject}{probe}. Data: {data}. {training} {captions.runs(found)} Here n = {n}."

    def file_name(self, kind: str) -> str:
        """Of the setting's figure of that kind, without suffix."""
        return table_name(replace(self.first, profile=self.profile), self.key, *([self.probe] if self.probe else []), kind)


class Order:
    """The titles of a report's methods, each in its place, so that a method looks the same in all figures."""

    def __init__(self, records: Iterable[Record], title: Title):
        self._places: dict[tuple[str, str], tuple[str, int]] = {}
        taken: Counter[str] = Counter()
        for place, (key, rows) in enumerate(by_method(records).items()):
            text = title(rows[0])
            taken[text] += 1  # settings that print alike are told apart by number
            self._places[key] = (text if taken[text] == 1 else f"{text} [{taken[text]}]"), place

    def series(self, found: Iterable[F]) -> list[Series[F]]:
        """Records by method and hyper-parameters, in the report's order."""
        rows = by_method(sorted(found, key=lambda f: (f.split, f.seed, f.run_id)))
        return [Series(*self._places[key], members) for key, members in rows.items()]

    def place(self, record: Record) -> tuple[str, int]:
        """Title and place of the method of a record."""
        return self._places[method_key(record)]


def probe_settings(found: Iterable[F], order: Order) -> list[Setting[F]]:
    """Records by all that decides their numbers but method, split and seed."""
    return [
        Setting(order.series(members), members[0].probe, members[0].profile, key)
        for key, members in comparable(found, COMPARABLE)
    ]


def run_settings(found: Iterable[F], order: Order) -> list[Setting[F]]:
    """Runs by all that decides their training but method, split and seed: one record stands for all probes of a run."""
    groups = comparable(one_a_run(found), SETTING)
    return [Setting(order.series(members), "", members[0].profile, key) for key, members in groups]


def mean_and_sd(values: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """Means over the first axis, NaN where any run has no number, and sample standard deviations; None for one run."""
    table = np.asarray(values, dtype=np.float64)
    return table.mean(axis=0), table.std(axis=0, ddof=1) if len(table) > 1 else None
