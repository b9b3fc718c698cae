"""The records of one figure, grouped by method, and its caption."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from matplotlib.figure import Figure
from msgspec.structs import replace
from numpy.typing import ArrayLike, NDArray

from reports import captions
from reports.comparable import (
    COMPARABLE,
    SETTING,
    ClassNames,
    Title,
    by_method,
    comparable_groups,
    method_key,
    one_record_per_run,
    run_key,
    table_name,
)
from reports.figures.style import drawable
from reports.tables.significance import LEVEL
from reports.tables.summary import reference_of
from run_store.records import Record

MAX_NAMED = 20  # classes on an axis
R = TypeVar("R", bound=Record)


@dataclass(frozen=True)
class Plot:
    """A figure that is not saved yet."""

    kind: str  # part of the file name
    title: str
    figure: Figure
    caption: str  # what is plotted
    details: str = ""  # definitions


@dataclass(frozen=True)
class Series(Generic[R]):
    """The runs of one method with one set of hyper-parameters."""

    label: str  # in the legend
    index: int  # of the label in the report; decides colour, line and marker
    records: Sequence[R]  # by split and seed


@dataclass(frozen=True)
class Setting(Generic[R]):
    """The records of one figure."""

    series: Sequence[Series[R]]
    probe: str  # empty if the figure has none
    profile: str  # empty if the figure is over several
    key: str  # of `comparable_groups`

    @property
    def first(self) -> R:
        """A record, for the fields that all share."""
        return self.series[0].records[0]

    @property
    def records(self) -> list[R]:
        """The records of all methods."""
        return [record for one in self.series for record in one.records]

    @property
    def reference(self) -> Series[R] | None:
        """The series of SimCLR, with which the others are compared."""
        of_key = {method_key(one.records[0]): one for one in self.series}
        key = reference_of({key: one.records for key, one in of_key.items()})
        return of_key[key] if key else None

    @property
    def error_bars(self) -> str:
        """Sentence of a caption on error bars that are intervals of differences from the reference."""
        return (
            f"Error bars: {LEVEL:.0%} interval of the paired difference from {self.reference.label}." if self.reference else ""
        )

    @property
    def variant(self) -> str:
        """Name of the variant; empty if the figure is over several."""
        return self.profile and self.first.variant

    @property
    def subtitle(self) -> str:
        """Data set, variant, probe and scale in a few words."""
        f = self.first
        variant = self.variant and f"variant {self.variant}"
        words = [
            f.dataset,
            variant,
            captions.probe_title(self.probe),
            captions.SCALES.get(f.preset, f"preset {f.preset}"),
            f.mark,
        ]
        return " · ".join(word for word in words if word)

    @property
    def caption(self) -> str:
        """Data set, variant, probe, number of runs, splits, seeds and scale."""
        f = self.first
        subject = (captions.subject(f) if self.profile else f.dataset) + (f", {f.mark}" if f.mark else "")
        probe = f", probe {captions.probe_title(self.probe)}" if self.probe else ""
        n = captions.value_range({len({run_key(r) for r in one.records}) for one in self.series})
        return captions.with_notes(f"{subject}{probe}, n = {n} ({captions.over(self.records)}).", self.records)

    @property
    def details(self) -> str:
        """Data, training, splits with their passports."""
        f = self.first
        data = captions.data([f] if self.profile else self.records)
        images = None if self.profile else f"{captions.value_range({r.n_pretrain for r in self.records})} images"
        return f"Data: {data}. {captions.training(f, images)} {captions.runs(self.records)}"

    def file_name(self, kind: str) -> str:
        """File name of the setting's figure of this kind, without suffix."""
        return table_name(replace(self.first, profile=self.profile), self.key, *([self.probe] if self.probe else []), kind)


class MethodOrder:
    """Label and index of every method of a report, so that a label has the same style in all figures.

    The same title may stand for other hyper-parameters on another benchmark or preset, whose defaults differ.
    """

    def __init__(self, records: Iterable[Record], title: Title):
        self._title = title
        titles = dict.fromkeys(title(rows[0]) for rows in by_method(records).values())
        self._index = {text: index for index, text in enumerate(titles)}

    def series(self, records: Iterable[R]) -> list[Series[R]]:
        """The records of one figure by method and hyper-parameters; equal titles are numbered."""
        taken: Counter[str] = Counter()
        found = []
        for members in by_method(sorted(records, key=lambda f: (f.split, f.seed, f.run_id))).values():
            text = self._title(members[0])
            taken[text] += 1
            label = text if taken[text] == 1 else f"{text} [{taken[text]}]"
            found.append(Series(label, self._index.setdefault(label, len(self._index)), members))
        return found


def probe_settings(records: Iterable[R], order: MethodOrder) -> list[Setting[R]]:
    """One setting per group of comparable records of one probe."""
    return [
        Setting(order.series(members), members[0].probe, members[0].profile, key)
        for key, members in comparable_groups(records, COMPARABLE)
    ]


def run_settings(records: Iterable[R], order: MethodOrder) -> list[Setting[R]]:
    """One setting per group of comparable runs, with one record per run."""
    groups = comparable_groups(one_record_per_run(records), SETTING)
    return [Setting(order.series(members), "", members[0].profile, key) for key, members in groups]


def class_order(record: Record) -> NDArray[np.int64]:
    """(C,) class numbers, most training images first, ties by class number."""
    # the classes of a balanced twin keep the order of the long-tailed set
    return np.lexsort([np.arange(len(record.class_counts)), -np.array(record.group_counts), -np.array(record.class_counts)])


def names_by_rank(records: Sequence[Record], class_names: ClassNames) -> list[str]:
    """Class names in `class_order`; empty for unknown names, many classes, or runs that differ in the order, as splits do."""
    names = class_names(records[0])
    order = class_order(records[0])
    if len(names) != len(order) or len(names) > MAX_NAMED or any((class_order(r) != order).any() for r in records):
        return []
    return [drawable(names[number]) for number in order]


def mean_and_std(values: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """Mean over the first axis (NaN if a run has no value) and sample standard deviation, None for one run."""
    table = np.asarray(values, dtype=np.float64)
    return table.mean(axis=0), table.std(axis=0, ddof=1) if len(table) > 1 else None
