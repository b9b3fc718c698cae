"""One summary per setting: accuracy of each method, and its difference from SimCLR on the same runs, with a verdict."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import inf

from core.words import by_number
from reports import captions
from reports.comparable import Title, by_method, method_name, run_ids, table_name
from reports.shipped_record import ShippedRecord
from reports.tables.accuracy import METRICS, AccuracyTable, mean_cell, mean_std
from reports.tables.costs import BASELINE
from reports.tables.significance import LEVEL, MIN_PAIRS, PAIRED, TEST, Difference, difference
from reports.tables.table import Cell, Column, Table, signed
from run_store.records import AccuracyRecord, Record

SUMMARY = "summary-"  # prefix of the tables' file names
SHOWN = ("few", "mean", "group_std")
DIFFERENCES = ("few", "mean")
VERDICT_RULE = f"The verdict is on Few ({TEST}) and needs {MIN_PAIRS} splits, or seeds of the only split."


def add_runs(record: Record) -> str:
    """Advice for a method with too few runs, whatever the setting of the record."""
    return "add splits or seeds"


def summary_tables(
    tables: Iterable[AccuracyTable],
    title: Title = method_name,
    more_runs: Callable[[Record], str] = add_runs,
) -> list[Table]:
    """One summary for each setting, of its table of the main probe, else of its first.

    If that probe has tables of several protocols, the one with the most rows is taken. Of the settings of a benchmark, that
    with the most methods comes first, those of balanced variants last. Rows of the user's own runs come before shipped ones,
    each by accuracy on the few group, the best first.

    Args:
        tables: result of `build_tables`.
        title: printed name of a record's method.
        more_runs: advice for the setting of a record, for methods with fewer than five pairs with SimCLR.
    """
    settings: dict[str, list[AccuracyTable]] = {}
    for table in tables:
        same = settings.setdefault(table.setting_key, [])
        if not same or same[0].probe == table.probe:
            same.append(table)
    largest = [max(same, key=lambda table: len(table.rows)) for same in settings.values()]
    ordered = sorted(largest, key=lambda table: (by_number(table.first.dataset), _is_balanced(table.first), -len(table.rows)))
    return [_summary(table, title, more_runs(table.first)) for table in ordered]


def _summary(table: AccuracyTable, title: Title, advice: str) -> Table:
    methods = dict(sorted(by_method(table.records).items(), key=lambda row: _order(row[1])))
    baseline = reference_of(methods)
    reference = title(methods[baseline][0]) if baseline else "SimCLR"
    groups = {row.key: row.group for row in table.rows}
    rows = []
    for key, records in methods.items():
        cells = {metric: mean_cell(getattr(record, metric) for record in records) for metric in SHOWN}
        found = {
            metric: difference(records, methods[baseline], metric) if baseline and key != baseline else None
            for metric in DIFFERENCES
        }
        what_to_do = "" if isinstance(records[0], ShippedRecord) else f": {advice}"
        verdict = "reference" if key == baseline else _verdict(found["few"], what_to_do) if baseline else f"no {reference} runs"
        rows.append(
            [
                Cell(title(records[0])),
                Cell(groups[key]),
                cells["few"],
                *_cells(found["few"]),
                Cell(verdict),
                cells["mean"],
                *_cells(found["mean"]),
                cells["group_std"],
                Cell(len(records)),
                Cell(", ".join(sorted({record.device for record in records}))),
            ]
        )
    return Table(
        f"{SUMMARY}{table_name(table.first, table.setting_key)}",
        f"{captions.subject(table.first)}, summary, test accuracy in %, probe {captions.probe_title(table.probe)}",
        captions.caption(table.records, f"Differences are paired, with {LEVEL:.0%} intervals.", mean="Mean"),
        captions.with_origins(f"{table.setting} {captions.protocol(table.records)} {PAIRED} {VERDICT_RULE}", table.records),
        _columns(reference),
        rows,
        table.records,
        table.probe,
        [run_ids(records) for records in methods.values()],
        file="summary",
    )


def reference_of(methods: Mapping[tuple[str, str], Sequence[Record]]) -> tuple[str, str] | None:
    """The SimCLR that other methods are compared with: the user's own before a shipped one, then that with the most runs.

    Args:
        methods: result of `by_method`.
    """
    candidates = [key for key in methods if key[0] == BASELINE]
    return max(candidates, key=lambda key: (not isinstance(methods[key][0], ShippedRecord), len(methods[key])), default=None)


def _is_balanced(record: Record) -> bool:
    return len(set(record.class_counts)) == 1


def _order(records: Sequence[AccuracyRecord]) -> tuple[bool, float]:
    """Sort key of a row: shipped rows last, but submissions among the others; then the mean accuracy on few, the best first."""
    few = mean_std(record.few for record in records)
    first = records[0]
    return isinstance(first, ShippedRecord) and not first.submission, inf if few is None else -few.mean


def _columns(reference: str) -> list[Column]:
    means = {metric: Column(METRICS[metric], metric, std=True, std_printed=False) for metric in SHOWN}
    differences = {
        metric: [
            Column(f"{METRICS[metric]} − {reference}", f"{metric}_difference_text", placeholder="-", is_difference=True),
            *(Column(name, f"{metric}_{name}", csv_only=True) for name in ("difference", "low", "high", "pairs")),
        ]
        for metric in DIFFERENCES
    }
    return [
        Column("Method", "method"),
        Column("Group", "method_group", csv_only=True),
        means["few"],  # with its difference and the verdict first: what a phone shows without scrolling
        *differences["few"],
        Column("Verdict", "verdict"),
        means["mean"],
        *differences["mean"],
        means["group_std"],
        Column("n", "runs"),
        Column("Device", "device", csv_only=True),
    ]


def _cells(found: Difference | None) -> list[Cell]:
    """Text, difference, both limits and number of pairs."""
    if found is None:
        return [Cell(None)] * 5
    interval = "" if found.low is None or found.high is None else f" [{signed(found.low)}, {signed(found.high)}]"
    return [Cell(f"{signed(found.mean)}{interval}"), *map(Cell, (found.mean, found.low, found.high, found.pairs))]


def _verdict(found: Difference | None, advice: str) -> str:
    if found is None or found.low is None or found.high is None or found.pairs < MIN_PAIRS:
        return f"too few runs{advice}"
    if found.low > 0:
        return "better on few"
    return "worse on few" if found.high < 0 else "no difference seen"
