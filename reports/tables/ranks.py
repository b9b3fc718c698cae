"""Ranks of methods over benchmarks and splits: Friedman test, critical difference, probabilities of improvement.

Demšar, JMLR 2006: methods are ranked within each block, here a setting and split of the training, by the mean over its seeds;
in a setting with one split, blocks are its seeds (see `significance`). Two mean ranks differ significantly if they differ by
more than the critical difference of Nemenyi's test. The probability of improvement of one method over another is the fraction
of blocks in which it is better, ties count half (Agarwal et al., NeurIPS 2021).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import inf, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.stats import friedmanchisquare, rankdata, studentized_range

from reports import captions
from reports.comparable import Title, comparable_groups, method_name, run_ids, run_key, short_hash
from reports.tables.accuracy import METRICS
from reports.tables.costs import BASELINE
from reports.tables.significance import LEVEL, MIN_PAIRS
from reports.tables.table import Cell, Column, Table
from run_store.records import AccuracyRecord

MIN_METHODS = 3
MAX_PRINTED = 10  # methods; the pairs of more are in the CSV only
RANKED = ("few", "mean")
SMALLEST_P = 0.0001  # smaller values of p are not printed
Block = tuple[str, str, int | None, frozenset[int]]  # key of the setting, split, seed (None: mean over seeds), probed splits


@dataclass(frozen=True)
class Ranks:
    """Methods that have all blocks, by mean rank."""

    methods: list[str]  # titles, best first
    mean_ranks: NDArray[np.float64]  # (K,) from 1, the best
    better: NDArray[np.float64]  # (K, K) fraction of blocks in which the method of the row is better than that of the column
    p: float | None  # of the Friedman test; None if all methods tie in every block
    critical_difference: float  # of two mean ranks
    blocks: int
    left_out: list[str]  # titles of methods without all blocks
    records: list[AccuracyRecord]

    @property
    def friedman(self) -> str:
        """Result of the Friedman test as a sentence."""
        if self.p is None:
            return "All methods tie in every block."
        return f"Friedman test: {f'p = {self.p:.2g}' if self.p >= SMALLEST_P else f'p < {SMALLEST_P}'}."


def rank_tables(records: Sequence[AccuracyRecord], title: Title = method_name) -> list[Table]:
    """One table for each preset, probe and metric of `RANKED` with three methods or more in five blocks or more."""
    return [
        _table(preset, probe, metric, found, title)
        for (preset, probe), members in _by_probe(records).items()
        for metric in RANKED
        if (found := ranks(members, metric, title)) is not None
    ]


def ranks(records: Sequence[AccuracyRecord], metric: str, title: Title = method_name) -> Ranks | None:
    """Ranks of the methods by one metric; None for fewer than three methods or five blocks.

    Of the settings of a benchmark, such as variants and numbers of epochs, those with the most methods count. The blocks are
    those of SimCLR, or without it those of the method that has the most. Records with equal titles belong to one method.
    """
    values = _blocks(records, metric, title)
    if not values:
        return None
    baseline = {title(record) for record in records if record.method == BASELINE} & values.keys() or values.keys()
    blocks = list(values[max(sorted(baseline), key=lambda name: len(values[name]))])
    methods = sorted(name for name, found in values.items() if found.keys() >= set(blocks))
    if len(methods) < MIN_METHODS or len(blocks) < MIN_PAIRS:
        return None
    means = [[np.mean([getattr(r, metric) for r in values[name][block]]) for name in methods] for block in blocks]
    table = np.array(means)  # (N, K)
    n, k = table.shape
    mean_ranks = rankdata(-table, axis=1).mean(axis=0)
    order = np.argsort(mean_ranks, kind="stable")
    better = ((table[:, :, None] > table[:, None, :]) + 0.5 * (table[:, :, None] == table[:, None, :])).mean(axis=0)
    return Ranks(
        methods=[methods[place] for place in order],
        mean_ranks=mean_ranks[order],
        better=better[np.ix_(order, order)],
        p=None if (table == table[:, :1]).all() else float(friedmanchisquare(*table.T).pvalue),
        critical_difference=float(studentized_range.ppf(LEVEL, k, inf) / sqrt(2) * sqrt(k * (k + 1) / (6 * n))),
        blocks=n,
        left_out=sorted(values.keys() - set(methods)),
        records=[record for name in methods for block in blocks for record in values[name][block]],
    )


def _blocks(records: Sequence[AccuracyRecord], metric: str, title: Title) -> dict[str, dict[Block, list[AccuracyRecord]]]:
    """The records of each block, by title of the method. Only blocks with equal probed splits are equal."""
    values: dict[str, dict[Block, list[AccuracyRecord]]] = {}
    for key, members in _with_most_methods(comparable_groups(records), title):
        several = len({run_key(record)[0] for record in members}) > 1
        found: dict[tuple[str, str, int | None], list[AccuracyRecord]] = {}
        for record in members:
            if getattr(record, metric) is not None:
                split, seed, _ = run_key(record)
                found.setdefault((title(record), split, None if several else seed), []).append(record)
        for (name, split, place), of_block in found.items():
            values.setdefault(name, {})[key, split, place, frozenset(record.split for record in of_block)] = of_block
    return values


def _with_most_methods(
    groups: Iterable[tuple[str, list[AccuracyRecord]]], title: Title
) -> Iterator[tuple[str, list[AccuracyRecord]]]:
    """The groups of each benchmark that have the most methods."""
    by_dataset: dict[str, dict[str, list[AccuracyRecord]]] = {}
    for key, members in groups:
        by_dataset.setdefault(members[0].dataset, {})[key] = members
    for of_dataset in by_dataset.values():
        methods = {key: len({title(record) for record in members}) for key, members in of_dataset.items()}
        most = max(methods.values())
        yield from ((key, members) for key, members in of_dataset.items() if methods[key] == most)


def _by_probe(records: Iterable[AccuracyRecord]) -> dict[tuple[str, str], list[AccuracyRecord]]:
    """Records by preset and probe."""
    found: dict[tuple[str, str], list[AccuracyRecord]] = {}
    for record in records:
        found.setdefault((record.preset, record.probe), []).append(record)
    return dict(sorted(found.items()))


def _table(preset: str, probe: str, metric: str, found: Ranks, title: Title) -> Table:
    datasets = ", ".join(sorted({record.dataset for record in found.records}))
    name = METRICS[metric]
    left_out = f" Left out, without all blocks: {', '.join(found.left_out)}." if found.left_out else ""
    printed = len(found.methods) <= MAX_PRINTED
    pairs = "" if printed else " The fractions of blocks in which one method is better than another are in the CSV."
    of_method = {method: [r for r in found.records if title(r) == method] for method in found.methods}
    return Table(
        f"ranks-{name.lower()}-{preset}-{probe}-{short_hash(datasets)}",
        f"{datasets}, mean ranks, {name}, probe {captions.probe_title(probe)}",
        captions.with_notes(
            f"{'Fractions: of blocks in which the row is better than the column. ' if printed else ''}"
            f"n = {found.blocks} blocks (benchmark and split; with one split, seeds). {found.friedman} Critical difference of "
            f"two mean ranks (Nemenyi, {LEVEL:.0%}): {found.critical_difference:.2f}.",
            found.records,
        ),
        "Rank 1 is the best. Demšar, JMLR 2006. Of several settings of a benchmark, those with the most methods count. Blocks "
        f"are treated as independent, although splits share images.{left_out}{pairs}",
        [
            Column("Method", "method"),
            Column("Mean rank", "mean_rank", decimals=2),
            *(
                Column(method, f"better_than_{method}", "better than", decimals=2, placeholder="", csv_only=not printed)
                for method in found.methods
            ),
        ],
        [
            [
                Cell(method),
                Cell(float(found.mean_ranks[row])),
                *(Cell(None if row == other else float(found.better[row, other])) for other in range(len(found.methods))),
            ]
            for row, method in enumerate(found.methods)
        ],
        found.records,
        probe,
        [run_ids(of_method[method]) for method in found.methods],
        file=f"ranks-{name.lower()}-{captions.probe_file(probe)}",
    )
