"""The tables of docs/findings.md, from records.

    python benchmarks/findings.py results/cifar10lt/cpu.jsonl results/cifar100lt/cpu.jsonl \
        --repeated benchmarks/repeated/cifar10lt-cpu.jsonl

Comparisons are those of the reports (`reports/tables/significance.py`): paired by split and seed, averaged over the seeds of a
split, by Student's t over splits. Holm's correction is over the methods that are compared with SimCLR, or over all pairs.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from math import sqrt
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
from cyclopts import App, Parameter
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import kendalltau, nct, t, ttest_1samp

sys.path.insert(0, str(Path(__file__).parent.parent))

from commands.titles import method_title
from reports.tables.significance import LEVEL, MIN_PAIRS, half_interval, paired_differences
from reports.tables.table import to_decimals
from run_store.records import AccuracyRecord, read_accuracy_records

MAIN, REFERENCE = "ridge", "SimCLR"
METRICS = {"few": "Few", "mean": "All"}
PUBLISHED = [("SimCLR", "SDCLR"), ("SDCLR", "BCL-D"), ("SimCLR", "BCL-D"), ("SimCLR", "COLT (pool=emoji)")]  # worse, better
POWER = 0.8
BENCHMARK, SECOND = "cifar10lt", "cifar100lt"
VARIANT, EPOCHS = "sdclr", 22  # of the runs that are compared
SEED = 0  # of the runs on other sets and budgets, which have no other
VARIANTS = {VARIANT: "ratio 100", "ir=10,n=11165": "ratio 10", "balanced": "balanced"}  # sets of equal size
BUDGET_SPLITS = (1, 2)
BUDGET_PAIRS = [("SimCLR", "SDCLR"), ("SDCLR", "BCL"), ("SimCLR", "BCL"), ("SimCLR", "COLT (pool=emoji)")]  # worse, better
TASE = "TASE-R"
Methods = Mapping[str, Sequence[AccuracyRecord]]  # records of one probe by title of the method

app = App()


@app.default
def main(
    files: list[Path],
    *,
    repeated: Annotated[Path | None, Parameter(help="records of the same runs, trained on another machine")] = None,
) -> None:
    """Prints all tables."""
    print("\n\n".join(tables(read_accuracy_records(files), read_accuracy_records([repeated]) if repeated else [])))


def tables(records: Sequence[AccuracyRecord], repeated: Sequence[AccuracyRecord]) -> list[str]:
    """All tables, in Markdown.

    Args:
        records: of runs of one preset: of BENCHMARK in several variants of it and with changes of the preset, and of SECOND.
        repeated: of some of these runs on another machine.
    """
    of_variant = [record for record in records if record.profile == VARIANT and record.epochs == EPOCHS]
    of_second = _by_probe(_compared([record for record in of_variant if record.dataset == SECOND]))
    main = [record for record in of_variant if record.dataset == BENCHMARK]
    first = [record for record in records if record.dataset == BENCHMARK and record.seed == SEED]
    runs = _compared(main)
    probes = _by_probe(runs)
    methods = probes[MAIN]
    again = _paired_with(runs, repeated)
    return [
        _markdown(_differences(methods)),
        _separated(methods),
        _markdown(_seeds(methods)),
        _markdown(_probe_agreement(probes)),
        _markdown(_tail_detection(methods)),
        _markdown(_published_order(probes)),
        _markdown(_imbalance([record for record in first if record.epochs == EPOCHS])),
        _markdown(_budgets([r for r in first if r.profile == VARIANT and r.split in BUDGET_SPLITS])),
        _markdown(_spread(again)),
        _markdown(_detectable(methods)),
        _markdown(_bounds(_methods(main, MAIN))),
        _markdown(_untrained([record for record in records if record.epochs == 0])),
        _markdown(_both_benchmarks(methods, of_second[MAIN])),
        _markdown(_benchmark_agreement(probes, of_second)),
    ]


def _compared(records: Sequence[AccuracyRecord]) -> list[AccuracyRecord]:
    """Records of the trained methods, without the bounds of TASE-R."""
    return [record for record in records if not record.true_labels and record.hparams.get("clusterer") != "random"]


def _by_probe(records: Sequence[AccuracyRecord]) -> dict[str, Methods]:
    return {name: _methods(records, name) for name in sorted({record.probe for record in records})}


def _methods(records: Sequence[AccuracyRecord], probe: str) -> Methods:
    found: dict[str, list[AccuracyRecord]] = {}
    for record in records:
        if record.probe == probe:
            found.setdefault(method_title(record), []).append(record)
    return found


def _differences(methods: Methods) -> pd.DataFrame:
    """Differences from SimCLR, the largest on Few first."""
    rows = {}
    for name, records in methods.items():
        if name != REFERENCE:
            cells = {}
            for metric, title in METRICS.items():
                values = paired_differences(records, methods[REFERENCE], metric)
                cells |= {title: _interval(values), f"p {title}": ttest_1samp(values, 0).pvalue, metric: values.mean()}
            rows[name] = {**cells, "runs": len(records)}
    table = pd.DataFrame(rows).T.sort_values("few", ascending=False)
    for title in METRICS.values():
        table[f"p {title}"] = [f"{p:.2g}" for p in _holm(table[f"p {title}"].to_numpy(float))]
    return table.drop(columns=list(METRICS))


def _separated(methods: Methods) -> str:
    """Number of pairs of methods that differ."""
    lines = []
    for metric, title in METRICS.items():
        p = [
            ttest_1samp(values, 0).pvalue
            for first, second in combinations(methods.values(), 2)
            if len(values := paired_differences(first, second, metric)) > 1
        ]
        lines.append(
            f"{title}: of {len(p)} pairs of methods, {sum(np.array(p) < 1 - LEVEL)} differ at {LEVEL:.0%} without correction "
            f"and {sum(_holm(np.array(p)) < 1 - LEVEL)} with Holm's."
        )
    return "\n".join(lines)


def _probe_agreement(probes: Mapping[str, Methods]) -> pd.DataFrame:
    """Kendall's tau of the means of the methods by two probes."""
    rows = [
        {"probes": f"{first}, {second}", **_order_agreement(probes[first], probes[second])}
        for first, second in combinations(probes, 2)
    ]
    return pd.DataFrame(rows).set_index("probes")


def _order_agreement(first: Methods, second: Methods) -> dict[str, str]:
    """Kendall's tau of the means of the methods that are in both."""
    names = sorted(first.keys() & second.keys())
    return {
        title: f"{kendalltau(*([_mean(methods[name], metric) for name in names] for methods in (first, second))).statistic:.2f}"
        for metric, title in METRICS.items()
    }


def _tail_detection(methods: Methods) -> pd.DataFrame:
    """AUROC of the tail score of each method for images of the few group."""
    rows = {}
    for name, records in methods.items():
        scores = pd.Series([r.tail_auroc for r in records], [r.split for r in records], dtype=float)
        values = scores.groupby(level=0).mean().dropna().to_numpy()
        if len(values) > 1:
            rows[name] = {"AUROC": _interval(values, 3), "mean": values.mean(), "splits": len(values)}
    return pd.DataFrame(rows).T.sort_values("mean", ascending=False).drop(columns="mean")


def _published_order(probes: Mapping[str, Methods]) -> pd.DataFrame:
    """Differences of the pairs that papers order, the published better method minus the other."""
    rows = {}
    for worse, better in PUBLISHED:
        for metric, title in METRICS.items():
            rows[f"{worse} < {better}, {title}"] = {
                name: _interval(paired_differences(methods[better], methods[worse], metric)) for name, methods in probes.items()
            }
    return pd.DataFrame(rows).T


def _imbalance(records: Sequence[AccuracyRecord]) -> pd.DataFrame:
    """Accuracies on sets of equal size, the gap of balanced and long-tailed ones, and the gain over SimCLR on the latter."""
    by_variant = {variant: _methods([r for r in records if r.profile == variant], MAIN) for variant in VARIANTS}
    splits = {record.split for record in records if record.profile == "balanced"}
    by_variant[VARIANT] = {name: [r for r in found if r.split in splits] for name, found in by_variant[VARIANT].items()}
    tailed, balanced = by_variant[VARIANT], by_variant["balanced"]
    rows = {}
    for name in balanced:
        for metric, title in METRICS.items():
            won = paired_differences(tailed[name], tailed[REFERENCE], metric)
            rows[f"{name}, {title}"] = {
                **{head: f"{_mean(by_variant[variant][name], metric):.1f}" for variant, head in VARIANTS.items()},
                "balanced − ratio 100": _text(paired_differences(balanced[name], tailed[name], metric)),
                f"ratio 100: gain over {REFERENCE}": "-" if name == REFERENCE else _text(won),
                "n": len(balanced[name]),
            }
    return pd.DataFrame(rows).T


def _budgets(records: Sequence[AccuracyRecord]) -> pd.DataFrame:
    """Differences of the pairs that papers order by number of epochs: the mean, and the difference on each split."""
    by_epochs = {epochs: _methods([r for r in records if r.epochs == epochs], MAIN) for epochs in {r.epochs for r in records}}
    rows = {}
    for worse, better in BUDGET_PAIRS:
        for metric, title in METRICS.items():
            rows[f"{worse} < {better}, {title}"] = {
                f"{epochs} epochs": _text(paired_differences(methods[better], methods[worse], metric))
                for epochs, methods in sorted(by_epochs.items())
                if worse in methods and better in methods
            }
    return pd.DataFrame(rows).T.fillna("-")


def _bounds(methods: Methods) -> pd.DataFrame:
    """Differences of the variants of TASE-R and of TS from TASE-R."""
    rows = {}
    for name, records in methods.items():
        if name == "TS" or (name.startswith(TASE) and name != TASE):
            pairs = {title: paired_differences(records, methods[TASE], metric) for metric, title in METRICS.items()}
            rows[name] = {**{title: _interval(values) for title, values in pairs.items()}, "n": len(pairs["All"])}
    return pd.DataFrame(rows).T


def _untrained(records: Sequence[AccuracyRecord]) -> pd.DataFrame:
    """Accuracies of the initial weights on each benchmark."""
    rows = {}
    for benchmark, probe in sorted({(record.dataset, record.probe) for record in records}):
        chosen = [record for record in records if (record.dataset, record.probe) == (benchmark, probe)]
        values = {title: np.array([getattr(r, metric) for r in chosen]) for metric, title in METRICS.items()}
        rows[f"{benchmark}, {probe}"] = {**{title: _text(found) for title, found in values.items()}, "n": len(chosen)}
    return pd.DataFrame(rows).T


def _both_benchmarks(first: Methods, second: Methods) -> pd.DataFrame:
    """Differences from SimCLR on two benchmarks, those with the largest on Few of the second one first."""
    rows = {}
    for name in first.keys() & second.keys() - {REFERENCE}:
        cells: dict[str, object] = {}
        for metric, title in METRICS.items():
            for benchmark, methods in ((BENCHMARK, first), (SECOND, second)):
                values = paired_differences(methods[name], methods[REFERENCE], metric)
                cells |= {f"{title}, {benchmark}": _text(values), metric: values.mean()}
        rows[name] = cells
    return pd.DataFrame(rows).T.sort_values("few", ascending=False).drop(columns=list(METRICS))


def _benchmark_agreement(first: Mapping[str, Methods], second: Mapping[str, Methods]) -> pd.DataFrame:
    """Kendall's tau of the means of the methods on two benchmarks, by probe."""
    return pd.DataFrame({probe: _order_agreement(first[probe], methods) for probe, methods in second.items()}).T


def _paired_with(
    records: Sequence[AccuracyRecord], repeated: Sequence[AccuracyRecord]
) -> list[tuple[AccuracyRecord, AccuracyRecord]]:
    """Records of the same run and probe on two machines."""
    others = {(r.run_id, r.probe): r for r in repeated}
    pairs = [(r, others[r.run_id, r.probe]) for r in records if (r.run_id, r.probe) in others]
    return [(first, second) for first, second in pairs if first.device != second.device]


def _spread(again: Sequence[tuple[AccuracyRecord, AccuracyRecord]]) -> pd.DataFrame:
    """Differences of equal runs on two machines."""
    rows = {}
    for probe in sorted({first.probe for first, _ in again}):
        for metric, title in METRICS.items():
            values = _repeat_differences(again, probe, metric)
            rows[f"{probe}, {title}"] = {
                "mean": _interval(values, 2),
                "standard deviation": f"{values.std(ddof=1):.2f}",
                "largest": f"{abs(values).max():.2f}",
                "runs": len(values),
            }
    return pd.DataFrame(rows).T


def _seeds(methods: Methods) -> pd.DataFrame:
    """Differences from SimCLR of methods with several seeds on each split: by each seed, and by the means of the seeds."""
    rows = {}
    for name, metric, table in _by_split_and_seed(methods):
        between, within = _components(table)
        rows[f"{name}, {METRICS[metric]}"] = {
            **{f"seed {seed}": _interval(values.to_numpy()) for seed, values in table.items()},
            "all seeds": _interval(table.mean(axis=1).to_numpy()),
            "SD of splits": f"{sqrt(between):.2f}",
            "SD of seeds": f"{sqrt(within):.2f}",
        }
    return pd.DataFrame(rows).T


def _by_split_and_seed(methods: Methods) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Method, metric and differences from SimCLR (rows: splits, columns: seeds) of methods with several seeds on each split."""
    for name, records in methods.items():
        for metric in METRICS:
            cells = [
                {"split": record.split, "seed": record.seed, "value": float(found[0])}
                for record in records
                if name != REFERENCE and len(found := paired_differences([record], methods[REFERENCE], metric))
            ]
            if len({cell["seed"] for cell in cells}) > 1:
                yield name, metric, pd.DataFrame(cells).pivot(index="split", columns="seed", values="value").dropna(axis=1)


def _components(table: pd.DataFrame) -> tuple[float, float]:
    """Variance of the splits and of seeds within a split, by one-way analysis of variance; that of the splits is at least 0."""
    within = float(table.var(axis=1, ddof=1).mean())
    between = float(table.mean(axis=1).var(ddof=1)) - within / table.shape[1]
    return max(between, 0.0), within


def _detectable(methods: Methods) -> pd.DataFrame:
    """Smallest difference from SimCLR that is found with probability POWER, by seeds of each of five splits.

    From the variances of splits and seeds, means over the methods with several seeds. Seeds of a split are averaged, and the
    test is on the five means.
    """
    components: dict[str, list[tuple[float, float]]] = {}
    for _, metric, table in _by_split_and_seed(methods):
        components.setdefault(metric, []).append(_components(table))
    rows = {}
    for metric, found in components.items():
        between, within = np.mean(found, axis=0)
        rows[METRICS[metric]] = {"SD of splits": f"{sqrt(between):.2f}", "SD of seeds": f"{sqrt(within):.2f}"} | {
            f"5 splits, seeds: {seeds}": f"{_smallest(sqrt(between + within / seeds), 5):.1f}" for seeds in (1, 3)
        }
    return pd.DataFrame(rows).T


def _smallest(deviation: float, n: int) -> float:
    """Mean difference that a paired t-test of `n` differences finds with probability POWER."""
    limit = t.ppf((1 + LEVEL) / 2, n - 1)
    return deviation / sqrt(n) * brentq(lambda shift: nct.sf(limit, n - 1, shift) - POWER, 0.1, 50)


def _repeat_differences(again: Sequence[tuple[AccuracyRecord, AccuracyRecord]], probe: str, metric: str) -> NDArray[np.float64]:
    return np.array([getattr(b, metric) - getattr(a, metric) for a, b in again if a.probe == probe])


def _interval(values: NDArray[np.float64], decimals: int = 1) -> str:
    """Mean with the interval of level LEVEL."""
    half = half_interval(values, fewest=2)
    mean = values.mean()
    low, high = _number(mean - half, decimals), _number(mean + half, decimals)
    return f"{_number(mean, decimals)} [{low}, {high}]"


def _text(values: NDArray[np.float64]) -> str:
    """Mean with the interval, or with all values where these are too few for one."""
    if len(values) >= MIN_PAIRS:
        return _interval(values)
    return _number(values[0]) if len(values) == 1 else f"{_number(values.mean())} ({', '.join(map(_number, values))})"


def _number(value: float, decimals: int = 1) -> str:
    """The rounded number, never `-0.0`."""
    return f"{to_decimals(float(value), decimals):.{decimals}f}"


def _holm(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Adjusted p-values by Holm's step-down method."""
    order = np.argsort(p)
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1)
    return adjusted


def _mean(records: Sequence[AccuracyRecord], metric: str) -> float:
    return float(np.mean([getattr(record, metric) for record in records]))


def _markdown(table: pd.DataFrame) -> str:
    """The table with cells of any width, as its lines are compared with those of the document."""
    lines = [[table.index.name or "", *table.columns], ["---"] * (table.shape[1] + 1)]
    lines += [[name, *row] for name, row in zip(table.index, table.to_numpy(), strict=True)]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


if __name__ == "__main__":
    app()
