"""Tables of test accuracies: one per setting (data, preset, recipe, precision, executor) and probe.

A row holds the runs of one method with one set of hyper-parameters, over splits and seeds.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from reports import captions
from reports.comparable import (
    SETTING,
    Title,
    by_method,
    comparable_groups,
    method_key,
    method_name,
    run_ids,
    split_passport,
    table_name,
)
from reports.shipped_record import ShippedRecord
from reports.tables.significance import BOLD, MIN_PAIRS, RULE, Comparison, best_rows
from reports.tables.states import RunState
from reports.tables.table import Cell, Column, Table
from run_store.records import AccuracyRecord, Record, accuracies

METRICS = {"many": "Many", "medium": "Medium", "few": "Few", "mean": "All", "group_std": "Std"}
CSV_METRICS = {"worst": "Worst", "harmonic_mean": "Harmonic mean", "head_tail_gap": "Gap", "class_std": "Class std"}
METHOD_GROUP = "method_group"  # key of the column
OTHER_GROUPING = ("many", "medium", "few", "group_std", "head_tail_gap")  # with groups by the other definition


@dataclass(frozen=True)
class MeanStd:
    """Mean and standard deviation over runs."""

    mean: float
    std: float | None  # sample standard deviation; None for a single run


@dataclass(frozen=True)
class Row:
    """One method with one set of hyper-parameters."""

    key: tuple[str, str]  # method and hyper-parameters
    method: str  # as printed
    values: dict[str, MeanStd | None]  # by metric, OTHER_GROUPING with prefix `other_`; None for an empty group or no run
    splits: int
    seeds: int
    runs: int
    run_ids: tuple[str, ...]  # missing runs last
    bold: frozenset[str] = frozenset()  # keys of METRICS
    missing: tuple[RunState, ...] = ()
    warnings: tuple[str, ...] = ()  # of the training of its runs
    group: str = ""  # of the method, such as `baselines`; empty: unknown
    shipped: bool = False  # whether its runs are those of the repository

    @property
    def order(self) -> tuple[bool, tuple[str, str]]:
        """Sort key: rows of the user's own runs come first."""
        return self.shipped, self.key

    @property
    def placeholder(self) -> str | None:
        """`failed` or `unfinished` if the row has no finished run; else None."""
        if self.runs:
            return None
        return "failed" if any(state.status == "failed" for state in self.missing) else "unfinished"

    def cell(self, metric: str) -> Cell:
        """The printed cell of a metric."""
        value = self.values.get(metric)
        if value is None:
            return Cell(None, placeholder=self.placeholder)
        return Cell(value.mean, value.std, bold=metric in self.bold, dagger=bool(self.missing))


@dataclass(frozen=True)
class AccuracyTable:
    """Accuracies of one setting under one probe."""

    name: str  # as of `Table`
    title: str
    rows: list[Row]
    records: list[AccuracyRecord] = field(repr=False)
    best: Mapping[str, Comparison] = field(repr=False)  # by metric; empty if nothing was compared
    compared: list[str] = field(repr=False)  # titles of the methods that `best` refers to by index
    passport: str = ""  # of the only split of the table, if that split has several passports

    @property
    def first(self) -> AccuracyRecord:
        """A record; all have the same setting and probe."""
        return self.records[0]

    @property
    def probe(self) -> str:
        """Name of the probe."""
        return self.first.probe

    @property
    def setting(self) -> str:
        """Data and training as text, for captions."""
        return captions.setting(self.first)

    @property
    def setting_key(self) -> str:
        """Data and training with all their settings, equal for all probes of the same runs."""
        return comparable_groups([self.first], SETTING)[0][0] + self.passport

    @property
    def bold_rule(self) -> str:
        """One sentence for the caption: what is bold, and whether runs are missing."""
        found = any(best.best is not None for best in self.best.values())
        missing = "† Runs are missing." if any(row.missing for row in self.rows) else ""
        return f"{BOLD if found else ''} {missing}".strip()

    @property
    def comparison(self) -> str:
        """Sentences for the details: how the best was found, which methods were not compared, which runs are missing."""
        found = [best for best in self.best.values() if best.best is not None]
        nothing = f"Nothing is bold: no two methods have {MIN_PAIRS} splits or seeds in common."
        sentences = [RULE if found else nothing] if self.best else []
        uncompared = sorted({row for best in found for row in best.uncompared})
        if uncompared:
            names = ", ".join(self.compared[row] for row in uncompared)
            sentences.append(f"Not compared, fewer than {MIN_PAIRS} splits or seeds in common with the best: {names}.")
        sentences.append(captions.missing_runs({row.method: (row.runs, row.missing) for row in self.rows}))
        return " ".join(filter(None, sentences))

    def table(self) -> Table:
        """The printed table; further metrics and the groups by the other definition are in its CSV only."""
        columns = [*method_columns(self.rows), *metric_columns()]
        columns += [Column(head, key, std=True, csv_only=True) for key, head in CSV_METRICS.items()]
        columns += [Column(f"Other {key}", f"other_{key}", std=True, csv_only=True) for key in OTHER_GROUPING]
        columns += [Column("Other grouping", "other_grouping", csv_only=True)]
        columns += [Column("Splits", "splits", csv_only=True), Column("Seeds", "seeds", csv_only=True), Column("n", "runs")]
        columns += [Column(head, head.lower(), csv_only=True) for head in ("Warnings", "Bold", "Missing")]
        metrics = [*METRICS, *CSV_METRICS, *(f"other_{key}" for key in OTHER_GROUPING)]
        rows = [
            [
                *method_cells(row),
                *(row.cell(metric) for metric in metrics),
                Cell(self.first.other_groups.grouping),
                *(Cell(count) for count in (row.splits, row.seeds, row.runs)),
                Cell(" | ".join(row.warnings)),
                Cell(" ".join(metric for metric in METRICS if metric in row.bold)),
                Cell("; ".join(state.summary for state in row.missing)),
            ]
            for row in self.rows
        ]
        return Table(
            self.name,
            self.title,
            captions.caption(self.records, captions.between_splits(self.records), self.bold_rule),
            f"{self.setting} {captions.protocol(self.records)} {group_details(self.records)} {self.comparison}".strip(),
            columns,
            rows,
            self.records,
            self.probe,
            [row.run_ids for row in self.rows],
            file=captions.probe_file(self.probe),
        )


def method_columns(rows: Iterable[Row]) -> list[Column]:
    """The columns of `method_cells`; the second is printed if any method has a group."""
    return [Column("Method", "method"), Column("Group", METHOD_GROUP, csv_only=not any(row.group for row in rows))]


def method_cells(row: Row) -> list[Cell]:
    """Method and its group."""
    return [Cell(row.method), Cell(row.group)]


def metric_columns(group: str = "", prefix: str = "") -> list[Column]:
    """The columns of METRICS."""
    return [Column(head, f"{prefix}{key}", group, std=True) for key, head in METRICS.items()]


def group_details(records: Sequence[AccuracyRecord]) -> str:
    """Definition of the groups and of Std, splits and seeds."""
    return f"{captions.groups(records[0])} Std: over these groups (ddof 0). {captions.runs(records)}"


def build_tables(
    records: Iterable[Record],
    title: Title = method_name,
    states: Iterable[RunState] = (),
    *,
    bold: bool = True,
    group: Callable[[str], str] = lambda method: "",
) -> list[AccuracyTable]:
    """One table per setting and probe, by setting, the main probe first; rows by method name.

    Args:
        records: of any runs; only accuracy records are used.
        title: printed name of a record's method.
        states: unfinished and failed runs; each is listed in the tables of its setting.
        bold: whether to test which methods are significantly worse than the best.
        group: group of a method by its name, such as `baselines`; empty: unknown.
    """
    states = list(states)
    tables = [_table(key, members, title, states, bold, group) for key, members in comparable_groups(accuracies(records))]
    order = {table.setting_key: place for place, table in reversed(list(enumerate(tables)))}
    return sorted(tables, key=lambda table: (order[table.setting_key], table.probe != captions.MAIN_PROBE))


def mean_std(values: Iterable[float | None]) -> MeanStd | None:
    """Mean and sample standard deviation of the values that are not None; None if there is no such value."""
    present = [value for value in values if value is not None]
    if not present:
        return None
    return MeanStd(float(np.mean(present)), float(np.std(present, ddof=1)) if len(present) > 1 else None)


def mean_cell(values: Iterable[float | None]) -> Cell:
    """Cell with mean and sample standard deviation of the values that are not None."""
    found = mean_std(values)
    return Cell(None) if found is None else Cell(found.mean, found.std)


def _table(
    key: str,
    members: list[AccuracyRecord],
    title: Title,
    states: Sequence[RunState],
    bold: bool,
    group: Callable[[str], str],
) -> AccuracyTable:
    first = members[0]
    methods = by_method(members)
    present = {record.run_id for record in members if not isinstance(record, ShippedRecord)}
    missing: dict[tuple[str, str], list[RunState]] = {}
    for state in states:
        if state.run_id not in present and state.belongs(first):
            missing.setdefault(method_key(state), []).append(state)
    best = best_rows(list(methods.values())) if bold else {}
    rows = []
    for index, (method, runs) in enumerate(methods.items()):
        bold_metrics = frozenset(metric for metric, found in best.items() if index in found.equal)
        lost = () if isinstance(runs[0], ShippedRecord) else missing.pop(method, ())
        rows.append(_row(method, title(runs[0]), runs, bold_metrics, lost))
    rows += [_row(method, states_of[0].title, [], frozenset(), states_of) for method, states_of in missing.items()]
    return AccuracyTable(
        name=table_name(first, key, first.probe),
        title=f"{captions.subject(first, key)}, test accuracy in %, probe {captions.probe_title(first.probe)}",
        rows=sorted((replace(row, group=group(row.key[0])) for row in rows), key=lambda row: row.order),
        records=members,
        best=best,
        compared=[title(runs[0]) for runs in methods.values()],
        passport=split_passport(key),
    )


def _row(
    key: tuple[str, str], name: str, runs: Sequence[AccuracyRecord], bold: frozenset[str], missing: Sequence[RunState]
) -> Row:
    values = {metric: mean_std(getattr(run, metric) for run in runs) for metric in (*METRICS, *CSV_METRICS)}
    values |= {f"other_{metric}": mean_std(getattr(run.other_groups, metric) for run in runs) for metric in OTHER_GROUPING}
    ordered = tuple(sorted(missing, key=lambda state: (state.split, state.seed, state.run_id)))
    splits, seeds = {run.split for run in runs}, {run.seed for run in runs}
    ids = (*run_ids(runs), *(state.run_id for state in ordered))
    warnings = tuple(warning for run in runs for warning in run.warnings)
    shipped = bool(runs) and isinstance(runs[0], ShippedRecord)
    return Row(key, name, values, len(splits), len(seeds), len(runs), ids, bold, ordered, warnings, shipped=shipped)
