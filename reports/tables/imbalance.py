"""Cost of imbalance: accuracy on the balanced twin minus that on the long-tailed set; and accuracy by imbalance ratio."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from statistics import mean, stdev

from msgspec.structs import replace

from reports import captions
from reports.comparable import (
    Title,
    by_method,
    comparable_groups,
    method_key,
    method_name,
    most_in_common,
    run_ids,
    split_passport,
    table_name,
)
from reports.tables.accuracy import METRICS, mean_cell
from reports.tables.costs import BASELINE
from reports.tables.table import Cell, Column, Table
from run_store.records import AccuracyRecord

MATCHED = ("dataset", "mark", "preset", "recipe", "precision", "executor", "probe", "protocol")  # all but the pretraining set
PRETRAINING_SET = ("profile", "data")
ACCURACIES = ("mean", "many", "medium", "few")
CIFAR_RATIOS = {"sdclr": 100.0, "cao": 100.0, "gh": 100.0}  # nominal ratios of profiles whose name does not contain it
RATIO = re.compile(r"ir=([0-9.e+]+)(?:,n=\d+)?")
SIZE_TOLERANCE = 0.01  # relative: equal class sizes rarely add up to exactly the size of a long-tailed set

COMMON = "Of each method with two ratios or more, the runs (split and seed) that all its variants have."

Runs = dict[tuple[int, int], AccuracyRecord]  # by split and seed


def cost_of_imbalance_tables(records: Sequence[AccuracyRecord], title: Title = method_name) -> list[Table]:
    """Accuracy on the balanced twin minus accuracy on the long-tailed set, by method and group, and the percentage recovered.

    The balanced twin of a set is a profile of the same size with equal classes, whose groups are defined by the class counts of
    the long-tailed set. Runs are paired by split and seed with all other settings equal. A split with several passports has a
    table for each of them and each twin.
    """
    gap, recovered = "balanced − long-tailed", "recovered, %"
    columns = [Column("Method", "method")]
    columns += [Column(METRICS[name], f"gap_{name}", gap, std=True, placeholder="-") for name in ACCURACIES]
    columns += [Column("n", "runs", gap)]
    columns += [Column(METRICS[name], f"recovered_{name}", recovered, placeholder="-") for name in ("mean", "few")]
    columns += [Column("n", "recovered_runs", recovered, placeholder="-")]
    tables = []
    for key, members in comparable_groups(_trained_on_it(records), MATCHED, by_passport=False):
        for twin_key, subject, tailed_records, balanced_records in _twins(key, members):
            balanced = {method: _by_run(runs) for method, runs in by_method(balanced_records).items()}
            tailed = {method: _by_run(runs) for method, runs in by_method(tailed_records).items()}
            baseline = next((method for method in tailed if method[0] == BASELINE and method in balanced), None)
            titles = {method_key(r): title(r) for r in [*balanced_records, *tailed_records]}
            rows, ids, paired = [], [], []
            for method, runs in tailed.items():
                twin_runs = balanced.get(method, {})
                common = _common(runs, twin_runs)
                paired += [runs[run] for run in common]
                gaps = [mean_cell(_gaps(twin_runs, runs, name)) for name in ACCURACIES]
                recovered_cells = [Cell(None)] * 3
                if baseline is not None:
                    pair = tailed[baseline], balanced[baseline]
                    recovered_cells = [Cell(_recovered(runs, *pair, name)) for name in ("mean", "few")]
                    recovered_cells += [Cell(len(_common(runs, *pair)))]
                rows.append([Cell(titles[method]), *gaps, Cell(len(common)), *recovered_cells])
                ids.append(run_ids([*runs.values(), *twin_runs.values()]))
            first, flat = tailed_records[0], balanced_records[0]
            reference = titles[baseline] if baseline else "SimCLR, which has no runs on both sets"
            tables.append(
                Table(
                    f"imbalance-{table_name(first, twin_key, first.probe)}",
                    f"{subject}, cost of imbalance in points of test accuracy, probe {captions.probe_title(first.probe)}",
                    captions.caption(tailed_records, "Differences are paired by split and seed.", included=paired),
                    f"Data: {captions.data([first])}; balanced twin: {captions.data([flat])}. "
                    f"{captions.training(first, f'{first.n_pretrain} long-tailed or {flat.n_pretrain} balanced images')} "
                    f"{captions.protocol(tailed_records)} {captions.groups(first)} "
                    f"{captions.runs([*tailed_records, *balanced_records])} Recovered: gain over the baseline on the "
                    f"long-tailed set in % of the baseline's gap, on n common runs; baseline: {reference}. Empty for n = 1 and "
                    "where the gap is within its sample standard deviation.",
                    columns,
                    rows,
                    tailed_records,
                    first.probe,
                    ids,
                    file=f"cost-of-imbalance-{captions.probe_file(first.probe)}",
                )
            )
    return tables


def ratio_tables(records: Sequence[AccuracyRecord], title: Title = method_name) -> list[Table]:
    """Accuracy by imbalance ratio, ascending, at equal size of the pretraining set; a table for two ratios or more."""
    columns = [Column("Method", "method"), Column("Ratio", "ratio", decimals=0), Column("Images", "images")]
    columns += [Column("Variant", "variant", in_latex=False)]
    columns += [Column(head, name, std=True) for name, head in METRICS.items()]
    columns += [Column("n", "runs")]
    tables = []
    for key, group in equal_size_groups(records):
        sets = [(set_key, by_method(members)) for set_key, members in pretraining_sets(group)]
        rows, ids = [], []
        for method, members in by_method(group).items():
            for set_key, methods in sets:
                if runs := methods.get(method, []):
                    passport = split_passport(set_key)
                    variant = runs[0].variant + (f" [{passport}]" if passport else "")
                    cells = [mean_cell(getattr(run, metric) for run in runs) for metric in METRICS]
                    ratio, size = Cell(nominal_ratio(runs[0])), Cell(runs[0].n_pretrain)
                    rows.append([Cell(title(members[0])), ratio, size, Cell(variant), *cells, Cell(len(runs))])
                    ids.append(run_ids(runs))
        sizes = {r.n_pretrain for r in group}
        first = replace(group[0], profile="")
        name = table_name(first, key, first.probe).removeprefix(f"{first.dataset}-")
        tables.append(
            Table(
                f"ratio-{first.dataset}-{min(sizes)}-{name}",
                f"{first.dataset}, test accuracy in % by imbalance ratio at equal size, "
                f"probe {captions.probe_title(first.probe)}",
                captions.caption(group),
                f"Data: {captions.data(group)}. "
                f"{captions.training(first, f'{captions.value_range(sizes)} images')} {captions.protocol(group)} "
                f"{captions.groups(first)} {captions.runs(group)} {COMMON} Ratio: largest over smallest class, nominal value "
                f"of the variant. Sizes within {SIZE_TOLERANCE:.0%} count as equal. Groups are defined by each variant's own "
                "class counts, at ratio 1 by those of the long-tailed set.",
                columns,
                rows,
                group,
                first.probe,
                ids,
                file=f"ratios-{min(sizes)}-images-{captions.probe_file(first.probe)}",
            )
        )
    return tables


def equal_size_groups(records: Iterable[AccuracyRecord]) -> list[tuple[str, list[AccuracyRecord]]]:
    """(key, records) with pretraining sets of equal size, two ratios or more, and all other settings equal.

    Of each method, the runs (split and seed) that all its pretraining sets have, without sets that share no run with the larger
    ones; methods with one ratio are left out.
    """
    found = []
    for key, members in comparable_groups(_trained_on_it(records), MATCHED, by_passport=False):
        groups: list[list[AccuracyRecord]] = []
        for record in sorted(members, key=lambda r: r.n_pretrain):  # stable: keeps the order within a size
            if groups and _same_size(groups[-1][0], record):
                groups[-1].append(record)
            else:
                groups.append([record])
        for group in groups:
            common = [record for of_method in by_method(group).values() for record in _on_common_runs(of_method)]
            if common:
                found.append((key, common))
    return found


def _trained_on_it(records: Iterable[AccuracyRecord]) -> list[AccuracyRecord]:
    """Without networks that were trained on other data: the imbalance of the probed set has no effect on their accuracy."""
    return [record for record in records if not record.is_transfer]


def _on_common_runs(records: Sequence[AccuracyRecord]) -> list[AccuracyRecord]:
    """The records of one method on the runs that its sets have in common (`most_in_common`); empty if these have one ratio."""
    sets = {key: _by_run(members) for key, members in pretraining_sets(records)}
    kept, common = most_in_common(sets)
    found = [sets[key][run] for key in kept for run in common]
    return found if len({nominal_ratio(record) for record in found}) > 1 else []


def pretraining_sets(records: Iterable[AccuracyRecord]) -> list[tuple[str, list[AccuracyRecord]]]:
    """(key, records) of the same profile and data, by ratio and profile."""
    sets = comparable_groups(records, (*MATCHED, *PRETRAINING_SET))
    return sorted(sets, key=lambda found: (nominal_ratio(found[1][0]), found[1][0].profile, found[0]))


def nominal_ratio(r: AccuracyRecord) -> float:
    """The imbalance ratio in the name or definition of the profile if known, else largest over smallest class."""
    match = RATIO.fullmatch(r.profile)
    if match:
        return float(match[1])
    if r.dataset.startswith("cifar") and r.profile in CIFAR_RATIOS:
        return CIFAR_RATIOS[r.profile]
    return max(r.class_counts) / max(1, min(r.class_counts))


def _twins(key: str, members: Sequence[AccuracyRecord]) -> list[tuple[str, str, list[AccuracyRecord], list[AccuracyRecord]]]:
    """(key, subject, long-tailed records, records of the balanced twin), restricted to the splits that both have."""
    balanced = comparable_groups([r for r in members if _is_twin(r)], (*MATCHED, *PRETRAINING_SET))
    found = []
    for own_key, records in comparable_groups([r for r in members if not _is_twin(r)], (*MATCHED, *PRETRAINING_SET)):
        for twin_key, twins in balanced:
            twins = [twin for twin in twins if _same_size(records[0], twin)]
            splits = {(r.split, tuple(r.class_counts)) for r in records} & {(r.split, tuple(r.group_counts)) for r in twins}
            tailed = [r for r in records if (r.split, tuple(r.class_counts)) in splits]
            flat = [r for r in twins if (r.split, tuple(r.group_counts)) in splits]
            if splits:
                passport = split_passport(twin_key)
                subject = captions.subject(tailed[0], own_key) + (f", twin [{passport}]" if passport else "")
                found.append((own_key + twin_key, subject, tailed, flat))
    twins_of = Counter(tailed[0].profile for _, _, tailed, _ in found)
    return [
        (key if twins_of[tailed[0].profile] == 1 else own_key, subject, tailed, flat)
        for own_key, subject, tailed, flat in found
    ]


def _same_size(one: AccuracyRecord, other: AccuracyRecord) -> bool:
    return abs(one.n_pretrain - other.n_pretrain) <= SIZE_TOLERANCE * min(one.n_pretrain, other.n_pretrain)


def _is_twin(r: AccuracyRecord) -> bool:
    return len(set(r.class_counts)) == 1 and r.class_counts != r.group_counts


def _by_run(records: Sequence[AccuracyRecord]) -> Runs:
    return {(r.split, r.seed): r for r in records}


def _gaps(balanced: Runs, tailed: Runs, name: str) -> list[float]:
    pairs = [(getattr(balanced[run], name), getattr(tailed[run], name)) for run in sorted(balanced.keys() & tailed.keys())]
    return [flat - long for flat, long in pairs if flat is not None and long is not None]


def _recovered(method: Runs, baseline: Runs, balanced: Runs, name: str) -> float | None:
    """Gain of a method over the baseline on the long-tailed set, in per cent of the baseline's gap.

    None for a single run, and where the gap is within its standard deviation over runs: the ratio would be noise.
    """
    common = _common(method, baseline, balanced)
    values = [[getattr(runs[run], name) for run in common] for runs in (method, baseline, balanced)]
    if len(common) < 2 or any(value is None for numbers in values for value in numbers):
        return None
    gaps = [high - low for _, low, high in zip(*values, strict=True)]
    gap = mean(gaps)
    return 100 * (mean(values[0]) - mean(values[1])) / gap if gap > stdev(gaps) else None


def _common(*methods: Runs) -> list[tuple[int, int]]:
    return sorted(set.intersection(*(set(runs) for runs in methods)))
