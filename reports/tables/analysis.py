"""Further analyses: agreement of probes, tail detection, feature geometry, few-shot curves; one table per setting."""

from collections.abc import Sequence
from itertools import combinations
from math import isnan

import numpy as np
from scipy.stats import kendalltau

from reports import captions
from reports.comparable import (
    SETTING,
    RunKey,
    Title,
    by_method,
    comparable_groups,
    method_key,
    method_name,
    most_in_common,
    one_record_per_run,
    run_ids,
    run_key,
    table_name,
)
from reports.tables.accuracy import METRICS, mean_cell, mean_std
from reports.tables.table import Cell, Column, Table
from run_store.records import AccuracyRecord, GeometryRecord, Record

MIN_METHODS = 3  # methods that two probes must share for a rank correlation
GEOMETRY = {"alignment": "Alignment", "uniformity": "Uniformity", "effective_rank": "Effective rank"}
GROUPS = {"all": "All", "many": "Many", "medium": "Medium", "few": "Few"}

Accuracies = dict[tuple[str, str], dict[RunKey, float]]  # of one probe, by method key


def agreement_tables(records: Sequence[AccuracyRecord], title: Title = method_name) -> list[Table]:
    """Kendall's tau between the method rankings of every two probes, by All and by Few; one matrix per setting and metric."""
    return [table for key, group in comparable_groups(records, SETTING) for table in setting_agreement(key, group, title)]


def setting_agreement(key: str, records: Sequence[AccuracyRecord], title: Title = method_name) -> list[Table]:
    """The agreement matrices of one group of `comparable_groups`."""
    tables = []
    for metric in ("mean", "few"):
        accuracies = _accuracies(records, metric)
        pairs = {pair: _kendall(accuracies[pair[0]], accuracies[pair[1]]) for pair in combinations(sorted(accuracies), 2)}
        found = {pair: result for pair, result in pairs.items() if result is not None}
        if found:
            tables.append(_agreement_matrix(key, records, metric, found, accuracies, title))
    return tables


def tail_tables(records: Sequence[Record], title: Title = method_name) -> list[Table]:
    """How well each method's per-sample score detects the few classes; one table per setting."""
    columns = [
        Column("Method", "method"),
        Column("AUROC", "tail_auroc", decimals=3, std=True, placeholder="-"),
        Column("Spearman", "tail_spearman", decimals=3, std=True, placeholder="-"),
        Column("n", "runs"),
    ]
    tables = []
    for key, group in comparable_groups(records, SETTING):
        scored = [run for run in one_record_per_run(group) if _has_tail_score(run)]
        if not scored:
            continue
        methods = by_method(scored).values()
        rows = [
            [
                Cell(title(runs[0])),
                mean_cell(run.tail_auroc for run in runs),
                mean_cell(run.tail_spearman for run in runs),
                Cell(len(runs)),
            ]
            for runs in methods
        ]
        first = scored[0]
        tables.append(
            Table(
                f"tail-{table_name(first, key)}",
                f"{captions.subject(first, key)}, tail detection by the method's score",
                captions.caption(scored, "Chance: AUROC 0.5, Spearman 0."),
                f"{captions.setting(first)} {captions.groups(first)} {captions.runs(scored)} Scores are of the last epoch. "
                "AUROC: for the label 'class is in the few group'. Spearman: rank correlation with the rarity of the class. "
                "Methods without a tail score are left out.",
                columns,
                rows,
                scored,
                run_ids=[run_ids(runs) for runs in methods],
                file="tail-detection",
            )
        )
    return tables


def _has_tail_score(run: Record) -> bool:
    """Whether a run has a tail score on the probed data: that of a network trained on other data is on the classes of those."""
    return not run.is_transfer and (run.tail_auroc is not None or run.tail_spearman is not None)


def geometry_tables(records: Sequence[GeometryRecord], title: Title = method_name) -> list[Table]:
    """Alignment, uniformity and effective rank of the test features, overall and by group; one table per setting."""
    columns = [Column("Method", "method")]
    for measure, head in GEOMETRY.items():
        decimals = 1 if measure == "effective_rank" else 3
        columns += [Column(name, f"{measure}_{group}", head, decimals=decimals, std=True) for group, name in GROUPS.items()]
    columns.append(Column("n", "runs"))
    tables = []
    for key, members in comparable_groups(records):
        methods = by_method(members).values()
        rows = [
            [
                Cell(title(runs[0])),
                *(mean_cell(getattr(run, measure)[group] for run in runs) for measure in GEOMETRY for group in GROUPS),
                Cell(len(runs)),
            ]
            for runs in methods
        ]
        first = members[0]
        tables.append(
            Table(
                f"geometry-{table_name(first, key)}",
                f"{captions.subject(first, key)}, geometry of the test features",
                captions.caption(members, "Lower alignment: tighter; lower uniformity: more evenly spread."),
                f"{captions.setting(first)} {first.protocol}; {first.n_test} test images. {captions.groups(first)} "
                f"{captions.runs(members)}",
                columns,
                rows,
                members,
                first.probe,
                [run_ids(runs) for runs in methods],
                file="geometry",
            )
        )
    return tables


def curve_tables(records: Sequence[AccuracyRecord], title: Title = method_name) -> list[Table]:
    """Accuracy by number of labelled images per class, for probes that vary it; one table per setting and probe."""
    metrics = ("many", "medium", "few", "mean")
    columns = [Column("Method", "method"), Column("Shots", "shots")]
    columns += [Column(METRICS[name], name, std=True) for name in metrics]
    columns += [Column("Std over draws", "draws_sd"), Column("n", "runs")]
    tables = []
    for key, members in comparable_groups(record for record in records if record.curve):
        rows, ids = [], []
        for runs in by_method(members).values():
            points = [point for record in runs for point in record.curve or ()]
            for shots in sorted({point.shots for point in points}):
                same = [point for point in points if point.shots == shots]
                cells = [mean_cell(getattr(point, name) for point in same) for name in metrics]
                draws = mean_std(point.sd for point in same)
                rows.append(
                    [Cell(title(runs[0])), Cell(shots), *cells, Cell(draws.mean if draws else None), Cell(len(same))],
                )
                ids.append(run_ids(runs))
        first = members[0]
        tables.append(
            Table(
                f"curve-{table_name(first, key, first.probe)}",
                f"{captions.subject(first, key)}, test accuracy in % by labelled images per class, "
                f"probe {captions.probe_title(first.probe)}",
                captions.caption(members),
                f"{captions.setting(first)} {first.protocol}; {first.n_test} test images. {captions.groups(first)} "
                f"{captions.runs(members)} Std over draws: of All over draws of the labelled images, mean over runs.",
                columns,
                rows,
                members,
                first.probe,
                ids,
                file=f"curve-{captions.probe_file(first.probe)}",
            )
        )
    return tables


def _accuracies(records: Sequence[AccuracyRecord], metric: str) -> dict[str, Accuracies]:
    """By probe. A probe with records of two protocols is left out."""
    protocols: dict[str, set[str]] = {}
    for record in records:
        protocols.setdefault(record.probe, set()).add(record.protocol)
    found: dict[str, Accuracies] = {}
    for record in records:
        value = getattr(record, metric)
        if value is not None and len(protocols[record.probe]) == 1:
            runs = found.setdefault(record.probe, {}).setdefault(method_key(record), {})
            runs[run_key(record)] = value
    return found


def _kendall(first: Accuracies, second: Accuracies) -> tuple[float | None, int, int] | None:
    """Kendall's tau-b of the methods' means, and the numbers of methods and of runs; None for fewer than MIN_METHODS methods.

    Means are over the runs that both probes have of all compared methods, as methods on different splits cannot be ranked.
    Methods are added from the one with the most runs on, as long as a common run is left.
    """
    runs = {method: first[method].keys() & second[method].keys() for method in sorted(first.keys() & second.keys())}
    compared, common = most_in_common(runs)
    if len(compared) < MIN_METHODS:
        return None
    x, y = ([np.mean([probe[method][run] for run in common]) for method in compared] for probe in (first, second))
    tau = float(kendalltau(x, y).statistic)
    return None if isnan(tau) else tau, len(compared), len(common)


def _agreement_matrix(
    key: str,
    records: Sequence[AccuracyRecord],
    metric: str,
    results: dict[tuple[str, str], tuple[float | None, int, int]],
    accuracies: dict[str, Accuracies],
    title: Title,
) -> Table:
    probes = sorted({probe for pair in results for probe in pair})
    taus = {pair: tau for pair, (tau, _, _) in results.items()}
    taus |= {(b, a): tau for (a, b), tau in taus.items()} | {(probe, probe): 1.0 for probe in probes}
    titles = {method_key(record): title(record) for record in records}
    rows = []
    for probe in probes:
        means = {method: float(np.mean(list(runs.values()))) for method, runs in accuracies[probe].items()}
        best = max(sorted(means), key=lambda method: means[method])
        rows.append([Cell(probe), *(Cell(taus.get((probe, other))) for other in probes), Cell(titles[best])])
    methods = captions.value_range({n for _, n, _ in results.values()}, "method")
    runs = captions.value_range({n for _, _, n in results.values()}, "run")
    first = records[0]
    return Table(
        f"agreement-{'all' if metric == 'mean' else metric}-{table_name(first, key)}",
        f"{captions.subject(first, key)}, Kendall's tau-b between method rankings of probes by {METRICS[metric]}",
        captions.with_notes(f"n = {methods} on {runs}. 1: same order, −1: reversed, 0: unrelated.", records),
        f"{captions.setting(first)} {captions.runs(records)} Rankings are of the methods that both probes have (at least "
        f"{MIN_METHODS}), on the runs that both have of all these methods. Best: the method with the largest mean over its own "
        "runs, without a significance test.",
        [
            Column("Probe", "probe"),
            *(Column(probe, probe, decimals=2, placeholder="-") for probe in probes),
            Column("Best", "best"),
        ],
        rows,
        records,
        file=f"agreement-{METRICS[metric].lower()}",
    )
