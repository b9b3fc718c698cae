"""Questions answered from records: does the winner depend on the probe, who finds the tail, what shape have the features.

What imbalance costs is asked in `imbalance.py`. Every answer is a table for each setting that may be compared.
"""

from collections.abc import Sequence
from itertools import combinations
from math import isnan

import numpy as np
from scipy.stats import kendalltau

from reports import captions
from reports.comparable import SETTING, Title, by_method, comparable, method_key, method_name, one_a_run, run_ids, table_name
from reports.tables.accuracy import METRICS, cell, entry
from reports.tables.formats import Column, Entry, Table
from run_store.records import AccuracyRecord, GeometryRecord, Record

FEWEST = 3  # methods that two probes must share for their rankings to be compared
SHAPES = {"alignment": "Alignment", "uniformity": "Uniformity", "effective_rank": "Effective rank"}
PARTS = {"all": "All", "many": "Many", "medium": "Medium", "few": "Few"}

Ranking = dict[tuple[str, str], dict[tuple[int, int], float]]  # a probe's accuracies, by method and run (split, seed)


def agreement_tables(records: Sequence[AccuracyRecord], title: Title = method_name) -> list[Table]:
    """Kendall's tau between the rankings of methods by two probes, by All and by Few; a matrix for each setting and metric."""
    return [table for key, members in comparable(records, SETTING) for table in agreement_of(key, members, title)]


def agreement_of(key: str, members: Sequence[AccuracyRecord], title: Title = method_name) -> list[Table]:
    """The matrices of one setting, whose records and key are those of `comparable`."""
    tables = []
    for metric in ("mean", "few"):
        rankings = _rankings(members, metric)
        taus = {pair: _tau(rankings[pair[0]], rankings[pair[1]]) for pair in combinations(sorted(rankings), 2)}
        found = {pair: result for pair, result in taus.items() if result is not None}
        if found:
            tables.append(_matrix(key, members, metric, found, rankings, title))
    return tables


def tail_tables(records: Sequence[Record], title: Title = method_name) -> list[Table]:
    """How well each method's own score finds the images of the few classes; one table for each setting."""
    columns = [
        Column("Method", "method"),
        Column("AUROC", "tail_auroc", decimals=3, spread=True, absent="-"),
        Column("Spearman", "tail_spearman", decimals=3, spread=True, absent="-"),
        Column("n", "runs"),
    ]
    tables = []
    for key, members in comparable(records, SETTING):
        runs = [run for run in one_a_run(members) if run.tail_auroc is not None or run.tail_spearman is not None]
        if not runs:
            continue
        methods = by_method(runs).values()
        rows = [
            [
                Entry(title(of[0])),
                entry(cell(r.tail_auroc for r in of)),
                entry(cell(r.tail_spearman for r in of)),
                Entry(len(of)),
            ]
            for of in methods
        ]
        first = runs[0]
        notes = (
            "AUROC of the tail scores of the last epoch against: the class is in the few group (0.5: by chance); Spearman: "
            "rank correlation with the rarity of the class (0: by chance). Methods without such scores are left out."
        )
        tables.append(
            Table(
                f"tail-{table_name(first, key)}",
                f"{captions.subject(first, key)}, does a method find the tail",
                f"{captions.setting(first)} {captions.groups(first)} {captions.runs(runs)} {notes}",
                columns,
                rows,
                first,
                runs=[run_ids(of) for of in methods],
            )
        )
    return tables


def geometry_tables(geometries: Sequence[GeometryRecord], title: Title = method_name) -> list[Table]:
    """Alignment, uniformity and effective rank of all test images and by group; one table for each setting."""
    columns = [Column("Method", "method")]
    for shape, head in SHAPES.items():
        decimals = 1 if shape == "effective_rank" else 3
        columns += [Column(of, f"{shape}_{part}", head, decimals=decimals, spread=True) for part, of in PARTS.items()]
    columns.append(Column("n", "runs"))
    tables = []
    for key, members in comparable(geometries):
        methods = by_method(members).values()
        rows = [
            [
                Entry(title(of[0])),
                *(entry(cell(getattr(g, shape)[part] for g in of)) for shape in SHAPES for part in PARTS),
                Entry(len(of)),
            ]
            for of in methods
        ]
        first = members[0]
        tables.append(
            Table(
                f"geometry-{table_name(first, key)}",
                f"{captions.subject(first, key)}, geometry of the test images' features",
                f"{captions.setting(first)} {first.protocol}; {first.n_test} test images. {captions.groups(first)} "
                f"{captions.runs(members)} Lower alignment is tighter, lower uniformity more evenly spread.",
                columns,
                rows,
                first,
                first.probe,
                [run_ids(of) for of in methods],
            )
        )
    return tables


def curve_tables(records: Sequence[AccuracyRecord], title: Title = method_name) -> list[Table]:
    """Accuracy by number of labelled images a class, of probes that vary it; one table for each."""
    columns = [Column("Method", "method"), Column("Images a class", "shots")]
    columns += [Column(METRICS[name], name, spread=True) for name in ("many", "medium", "few", "mean")]
    columns += [Column("Over draws", "draws_sd"), Column("n", "runs")]
    tables = []
    for key, members in comparable(record for record in records if record.curve):
        rows, behind = [], []
        for of in by_method(members).values():
            points = [point for record in of for point in record.curve or ()]
            for shots in sorted({int(point["shots"]) for point in points}):
                here = [point for point in points if int(point["shots"]) == shots]
                entries = [entry(cell(point.get(name) for point in here)) for name in ("many", "medium", "few", "mean")]
                draws = cell(point.get("sd") for point in here)
                over_draws = Entry(None if draws is None else draws.mean)
                rows.append([Entry(title(of[0])), Entry(shots), *entries, over_draws, Entry(len(here))])
                behind.append(run_ids(of))
        first = members[0]
        tables.append(
            Table(
                f"curve-{table_name(first, key, first.probe)}",
                f"{captions.subject(first, key)}, test accuracy in % by labelled images of each class, "
                f"probe {captions.probe_title(first.probe)}",
                f"{captions.setting(first)} {first.protocol}; {first.n_test} test images. {captions.groups(first)} "
                f"{captions.runs(members)} Over draws: the deviation of All over draws of the labelled images, mean over runs.",
                columns,
                rows,
                first,
                first.probe,
                behind,
            )
        )
    return tables


def _rankings(records: Sequence[AccuracyRecord], metric: str) -> dict[str, Ranking]:
    rankings: dict[str, Ranking] = {}
    protocols: dict[str, set[str]] = {}
    for record in records:
        protocols.setdefault(record.probe, set()).add(record.protocol)
    for record in records:
        value = getattr(record, metric)
        if value is not None and len(protocols[record.probe]) == 1:  # of two protocols of one name neither is the probe's
            runs = rankings.setdefault(record.probe, {}).setdefault(method_key(record), {})
            runs[record.split, record.seed] = value
    return rankings


def _tau(one: Ranking, other: Ranking) -> tuple[float | None, int, int] | None:
    """Kendall's tau-b of the means over common runs, and the numbers of methods and of runs; None for too few methods.

    Common are the runs that both probes have of every method compared: methods on splits of their own cannot be ranked. Of the
    methods those are compared that share a run with the one of the most runs, which leaves out as few as may be.
    """
    runs = {method: one[method].keys() & other[method].keys() for method in sorted(one.keys() & other.keys())}
    common: set[tuple[int, int]] = set()
    compared: list[tuple[str, str]] = []
    for method, own in sorted(runs.items(), key=lambda item: -len(item[1])):
        if own and (not compared or common & own):
            common = common & own if compared else set(own)
            compared.append(method)
    if len(compared) < FEWEST:
        return None
    first, second = ([np.mean([of[method][run] for run in sorted(common)]) for method in compared] for of in (one, other))
    tau = float(kendalltau(first, second).statistic)
    return None if isnan(tau) else tau, len(compared), len(common)


def _matrix(
    key: str,
    members: Sequence[AccuracyRecord],
    metric: str,
    taus: dict[tuple[str, str], tuple[float | None, int, int]],
    rankings: dict[str, Ranking],
    title: Title,
) -> Table:
    probes = sorted({probe for pair in taus for probe in pair})
    both = taus | {(b, a): result for (a, b), result in taus.items()}
    names = {method_key(record): title(record) for record in members}
    rows = []
    for probe in probes:
        means = {method: float(np.mean(list(runs.values()))) for method, runs in rankings[probe].items()}
        places = [
            Entry(1.0) if other == probe else Entry(both[probe, other][0]) if (probe, other) in both else Entry(None)
            for other in probes
        ]
        rows.append([Entry(probe), *places, Entry(names[max(sorted(means), key=lambda method: means[method])])])
    methods = captions.span({n for _, n, _ in taus.values()}, "method")
    runs = captions.span({n for _, _, n in taus.values()}, "run")
    first = members[0]
    return Table(
        f"agreement-{'all' if metric == 'mean' else metric}-{table_name(first, key)}",
        f"{captions.subject(first, key)}, do probes rank methods alike by {METRICS[metric]}",
        f"{captions.setting(first)} {captions.runs(members)} Kendall's tau-b between the probes' rankings of the methods "
        f"that both have, at least {FEWEST}, on the runs that both have of all these methods: 1 is the same order, -1 the "
        f"reverse, 0 none; n = {methods} on {runs}. Best: the method of the largest mean over its own runs, whether "
        "significantly so or not.",
        [Column("Probe", "probe"), *(Column(probe, probe, decimals=2, absent="-") for probe in probes), Column("Best", "best")],
        rows,
        first,
    )
