"""Tables of accuracies as papers print them: one for each benchmark and probe, of all that may be compared.

One table holds one benchmark, profile, source of the images, preset, recipe (network, length, batch, optimiser), precision,
augmentation backend and probe. One row holds runs of one method with one set of hyper-parameters, over splits and seeds.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from reports import captions
from reports.comparable import Title, apart_by, by_method, comparable, method_key, method_name, run_ids, table_name
from reports.tables.formats import Column, Entry, Table
from reports.tables.significance import RULE, Best, best_rows
from reports.tables.states import RunState
from run_store.records import AccuracyRecord, Record, accuracies

METRICS = {"many": "Many", "medium": "Medium", "few": "Few", "mean": "All", "group_std": "Std"}
FURTHER = {"worst": "Worst", "harmonic_mean": "Harmonic mean", "head_tail_gap": "Gap", "class_std": "Class std"}
OTHER = ("many", "medium", "few", "group_std", "head_tail_gap")  # by the other rule of groups


@dataclass(frozen=True)
class Cell:
    """One number of a table: a mean over runs, and how far they spread."""

    mean: float
    std: float | None  # sample standard deviation over runs; None for a single run


@dataclass(frozen=True)
class Row:
    """One method under one set of hyper-parameters."""

    key: tuple[str, str]  # method and hyper-parameters
    method: str  # as printed
    cells: dict[str, Cell | None]  # by key of METRICS and FURTHER, and OTHER after `other_`; None for an empty group or no run
    splits: int
    seeds: int
    runs: int
    run_ids: tuple[str, ...]  # those that are missing last
    bold: frozenset[str] = frozenset()  # keys of METRICS
    missing: tuple[RunState, ...] = ()

    @property
    def words(self) -> str | None:
        """What is printed in place of numbers where there is no run: failed or unfinished; None where there is one."""
        if self.runs:
            return None
        return "failed" if any(state.status == "failed" for state in self.missing) else "unfinished"

    def entry(self, metric: str) -> Entry:
        """The cell as it is printed."""
        cell = self.cells.get(metric)
        if cell is None:
            return Entry(None, words=self.words)
        return Entry(cell.mean, cell.std, bold=metric in self.bold, marked=bool(self.missing))


@dataclass(frozen=True)
class AccuracyTable:
    """What may be compared, under one probe."""

    name: str  # file name without suffix
    title: str  # benchmark and probe
    setting: str  # data, preset, network and scale: one line shared by all probes of the same runs
    probe: str
    protocol: str  # the probe in words, and how many images it saw
    labels: int  # images that the probe learned from
    runs: str  # groups, splits with their passports, seeds
    remarks: str  # what is bold and what is missing
    rows: list[Row]
    first: AccuracyRecord = field(repr=False)  # any of the records
    grouping: str  # of OTHER
    apart: str  # passport of the one split that it is of, where that is made in several ways; else empty

    @property
    def notes(self) -> str:
        """All that this table does not share with others of its setting."""
        return f"{self.protocol} {self.runs} {self.remarks}"

    @property
    def caption(self) -> str:
        """All that a reader needs to place the numbers, in plain text."""
        return self.table().caption

    def table(self) -> Table:
        """The table as it is printed. Worst, harmonic mean, gap, and the other rule's groups are in its CSV alone."""
        columns = [Column("Method", "method"), *metric_columns()]
        columns += [Column(head, key, spread=True, reach="csv") for key, head in FURTHER.items()]
        columns += [Column(f"Other {key}", f"other_{key}", spread=True, reach="csv") for key in OTHER]
        columns += [Column("Other grouping", "other_grouping", reach="csv")]
        columns += [Column("Splits", "splits", reach="csv"), Column("Seeds", "seeds", reach="csv"), Column("n", "runs")]
        columns += [Column("Bold", "bold", reach="csv"), Column("Missing", "missing", reach="csv")]
        numbers = [*METRICS, *FURTHER, *(f"other_{key}" for key in OTHER)]
        rows = [
            [
                Entry(row.method),
                *(row.entry(metric) for metric in numbers),
                Entry(self.grouping),
                *(Entry(count) for count in (row.splits, row.seeds, row.runs)),
                Entry(" ".join(metric for metric in METRICS if metric in row.bold)),
                Entry("; ".join(state.words for state in row.missing)),
            ]
            for row in self.rows
        ]
        behind = [row.run_ids for row in self.rows]
        return Table(self.name, self.title, f"{self.setting} {self.notes}", columns, rows, self.first, self.probe, behind)


def metric_columns(group: str = "", prefix: str = "") -> list[Column]:
    """The columns that papers print."""
    return [Column(head, f"{prefix}{key}", group, spread=True) for key, head in METRICS.items()]


def build_tables(
    records: Iterable[Record], title: Title = method_name, states: Iterable[RunState] = (), *, bold: bool = True
) -> list[AccuracyTable]:
    """Groups records into tables, in the order of their settings, the leading probe first; methods in alphabetical order.

    Args:
        records: of any runs; those that are no accuracies are passed over.
        title: how the method of a record is printed.
        states: runs that are not done; those that would stand in a table of the records are shown in it.
        bold: whether to find out what is significantly worse than the best.
    """
    states = list(states)
    tables = [_table(key, members, title, states, bold) for key, members in comparable(accuracies(records))]
    place = {table.setting: place for place, table in reversed(list(enumerate(tables)))}
    return sorted(tables, key=lambda table: (place[table.setting], table.probe != captions.LEADING))


def cell(values: Iterable[float | None]) -> Cell | None:
    """Mean and sample standard deviation of those that there are; None if there are none."""
    there = [value for value in values if value is not None]
    if not there:
        return None
    return Cell(float(np.mean(there)), float(np.std(there, ddof=1)) if len(there) > 1 else None)


def entry(found: Cell | None) -> Entry:
    """A cell as it is printed in any table."""
    return Entry(None) if found is None else Entry(found.mean, found.std)


def _table(key: str, members: list[AccuracyRecord], title: Title, states: Sequence[RunState], bold: bool) -> AccuracyTable:
    first = members[0]
    by_row = by_method(members)
    present = {record.run_id for record in members}
    absent: dict[tuple[str, str], list[RunState]] = {}
    for state in states:
        if state.run_id not in present and state.belongs(first):
            absent.setdefault(method_key(state), []).append(state)
    best = best_rows(list(by_row.values())) if bold else {}
    rows = []
    for place, (row, runs) in enumerate(by_row.items()):
        bolds = frozenset(column for column, found in best.items() if place in found.equal)
        rows.append(_row(row, title(runs[0]), runs, bolds, _ordered(absent.get(row, ()))))
    rows += [_row(row, of[0].title, [], frozenset(), _ordered(of)) for row, of in absent.items() if row not in by_row]
    return AccuracyTable(
        name=table_name(first, key, first.probe),
        title=f"{captions.subject(first, key)}, test accuracy in %, probe {captions.probe_title(first.probe)}",
        setting=captions.setting(first),
        probe=first.probe,
        protocol=captions.probe(members),
        labels=first.n_train,
        runs=f"{captions.groups(first)} Std: over these groups (ddof 0). {captions.runs(members)}",
        remarks=_remarks(best, [title(runs[0]) for runs in by_row.values()], rows),
        rows=sorted(rows, key=lambda row: row.key),
        first=first,
        grouping=first.other_groups["grouping"],
        apart=apart_by(key),
    )


def _row(
    key: tuple[str, str], name: str, runs: Sequence[AccuracyRecord], bold: frozenset[str], missing: tuple[RunState, ...]
) -> Row:
    cells = {metric: cell(getattr(run, metric) for run in runs) for metric in (*METRICS, *FURTHER)}
    cells |= {f"other_{metric}": cell(run.other_groups[metric] for run in runs) for metric in OTHER}
    splits, seeds = {run.split for run in runs}, {run.seed for run in runs}
    behind = (*run_ids(runs), *(state.run_id for state in missing))
    return Row(key, name, cells, len(splits), len(seeds), len(runs), behind, bold, missing)


def _ordered(states: Sequence[RunState]) -> tuple[RunState, ...]:
    return tuple(sorted(states, key=lambda state: (state.split, state.seed, state.run_id)))


def _remarks(best: Mapping[str, Best], titles: Sequence[str], rows: Sequence[Row]) -> str:
    compared = any(found.best is not None for found in best.values())
    remarks = [RULE if compared else "Nothing is bold: no two methods have two runs in common."] if best else []
    apart = sorted({row for found in best.values() if found.best is not None for row in found.apart})
    if apart:
        names = ", ".join(titles[row] for row in apart)
        remarks.append(f"Not compared with a best, for want of two runs in common: {names}.")
    single = [row.method for row in rows if row.runs == 1]
    if single:
        remarks.append(f"n = 1: {', '.join(single)}.")
    remarks.append(captions.missing({row.method: (row.runs, row.missing) for row in rows}))
    return " ".join(remark for remark in remarks if remark)
