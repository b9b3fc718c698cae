"""What imbalance costs: runs on the balanced twin beside those on the long-tailed set, and accuracy by imbalance ratio."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from statistics import mean, stdev

from reports import captions
from reports.comparable import Title, apart_by, by_method, comparable, method_key, method_name, run_ids, table_name
from reports.tables.accuracy import METRICS, cell, entry
from reports.tables.costs import BASELINE
from reports.tables.formats import Column, Entry, Table
from run_store.records import AccuracyRecord

SAME = ("dataset", "mark", "preset", "recipe", "precision", "executor", "probe", "protocol")  # all but the pretraining set
SET = ("profile", "data")  # what a pretraining set is
ACCURACIES = ("mean", "many", "medium", "few")
NAMED = {"sdclr": 100.0, "cao": 100.0, "gh": 100.0}  # nominal ratios of CIFAR profiles that do not spell theirs
RATIO = re.compile(r"ir=([0-9.e+]+)(?:,n=\d+)?")
SIZES = 0.01  # by which share sizes may differ that count as equal: whole images of whole classes never give the same number

Runs = dict[tuple[int, int], AccuracyRecord]  # by split and seed


def cost_of_imbalance_tables(records: Sequence[AccuracyRecord], title: Title = method_name) -> list[Table]:
    """Accuracy on the balanced twin minus that on the long-tailed set, by method and group, and what is won back of SimCLR's.

    The balanced twin of a set is a profile of its size whose classes are equal but whose groups are decided by the set's own
    counts. Runs are paired by split and seed; all else is equal. Each making of a split has a table with each of its twins.
    """
    columns = [Column("Method", "method")]
    columns += [Column(METRICS[name], f"gap_{name}", "balanced − long-tailed", spread=True, absent="-") for name in ACCURACIES]
    columns += [Column("n", "runs", "balanced − long-tailed")]
    columns += [Column(METRICS[name], f"won_{name}", "won back, %", absent="-") for name in ("mean", "few")]
    columns += [Column("n", "won_runs", "won back, %", absent="-")]
    tables = []
    for key, members in comparable(records, SAME, passports=False):
        for own_key, subject, tailed_runs, flat_runs in _twins(key, members):
            balanced = {method: _runs(of) for method, of in by_method(flat_runs).items()}
            tailed = {method: _runs(of) for method, of in by_method(tailed_runs).items()}
            baseline = next((method for method in tailed if method[0] == BASELINE and method in balanced), None)
            names = {method_key(r): title(r) for r in [*flat_runs, *tailed_runs]}
            rows, behind = [], []
            for method, runs in tailed.items():
                gaps = [entry(cell(_gaps(balanced.get(method, {}), runs, name))) for name in ACCURACIES]
                n = len(runs.keys() & balanced.get(method, {}).keys())
                won = [Entry(None)] * 3
                if baseline is not None:
                    of_baseline = tailed[baseline], balanced[baseline]
                    won = [Entry(_won(runs, *of_baseline, name)) for name in ("mean", "few")]
                    won += [Entry(len(_common(runs, *of_baseline)))]
                rows.append([Entry(names[method]), *gaps, Entry(n), *won])
                behind.append(run_ids([*runs.values(), *balanced.get(method, {}).values()]))
            first, flat = tailed_runs[0], flat_runs[0]
            measure = f"that of {names[baseline]}" if baseline else "SimCLR's, which is not on both sets here"
            tables.append(
                Table(
                    f"imbalance-{table_name(first, own_key, first.probe)}",
                    f"{subject}, what imbalance costs in points of test accuracy, probe {captions.probe_title(first.probe)}",
                    f"Data: {first.data}; its balanced twin: {flat.data}. "
                    f"{captions.training(first, f'{first.n_pretrain} long-tailed or {flat.n_pretrain} balanced images')} "
                    f"{captions.probe(tailed_runs)} {captions.groups(first)} {captions.runs([*tailed_runs, *flat_runs])} "
                    "Differences of runs of one split and seed; n: such pairs. Won back: how far a method on the long-tailed "
                    "set is above the baseline there, in % of the baseline's gap, on n common runs; the gap is "
                    f"{measure}. None for n = 1, nor where the gap is within its sample standard deviation over those runs.",
                    columns,
                    rows,
                    first,
                    first.probe,
                    behind,
                )
            )
    return tables


def ratio_tables(records: Sequence[AccuracyRecord], title: Title = method_name) -> list[Table]:
    """Accuracies by imbalance ratio, ascending, at equal size and all else equal; a table where there are two ratios."""
    columns = [Column("Method", "method"), Column("Ratio", "ratio", decimals=0), Column("Images", "images")]
    columns += [Column("Profile", "profile", reach="text")]
    columns += [Column(head, name, spread=True) for name, head in METRICS.items()]
    columns += [Column("n", "runs")]
    tables = []
    for key, group in of_equal_size(records):
        by_set = [(name, by_method(of)) for name, of in pretraining_sets(group)]
        rows, behind = [], []
        for method, of in by_method(group).items():
            for name, methods in by_set:
                if runs := methods.get(method, []):
                    apart = apart_by(name)
                    profile = runs[0].profile + (f" [{apart}]" if apart else "")
                    accuracies = [entry(cell(getattr(r, metric) for r in runs)) for metric in METRICS]
                    ratio, size = Entry(nominal_ratio(runs[0])), Entry(runs[0].n_pretrain)
                    rows.append([Entry(title(of[0])), ratio, size, Entry(profile), *accuracies, Entry(len(runs))])
                    behind.append(run_ids(runs))
        sizes = sorted({r.n_pretrain for r in group})
        first = replace(group[0], profile="")  # the table is of several
        images = f"{sizes[0]} to {sizes[-1]} images" if len(sizes) > 1 else f"{sizes[0]} images"
        tables.append(
            Table(
                f"ratio-{first.dataset}-{sizes[0]}-{table_name(first, key, first.probe).removeprefix(first.dataset + '-')}",
                f"{first.dataset}, test accuracy in % by imbalance ratio at equal size, "
                f"probe {captions.probe_title(first.probe)}",
                f"Data: {'; '.join(sorted({r.data for r in group}))}. {captions.training(first, images)} "
                f"{captions.probe(group)} {captions.groups(first)} {captions.runs(group)} Ratio: of the largest class to "
                f"the smallest, as the profile is named. Sizes within {SIZES:.0%} count as equal. Groups are of each "
                "profile's own counts, at ratio 1 of the long-tailed set's.",
                columns,
                rows,
                first,
                first.probe,
                behind,
            )
        )
    return tables


def of_equal_size(records: Iterable[AccuracyRecord]) -> list[tuple[str, list[AccuracyRecord]]]:
    """Records of pretraining sets of one size and at least two ratios, all else equal, with a key of what that is."""
    found = []
    for key, members in comparable(records, SAME, passports=False):
        groups: list[list[AccuracyRecord]] = []
        for record in sorted(members, key=lambda r: r.n_pretrain):  # a stable sort: the order within a size stays
            if groups and _of_one_size(groups[-1][0], record):
                groups[-1].append(record)
            else:
                groups.append([record])
        found += [(key, group) for group in groups if len({nominal_ratio(r) for r in group}) > 1]
    return found


def pretraining_sets(records: Iterable[AccuracyRecord]) -> list[tuple[str, list[AccuracyRecord]]]:
    """Records of one profile and data, each making of a split apart, with a key of `comparable`; by ratio and profile."""
    sets = comparable(records, (*SAME, *SET))
    return sorted(sets, key=lambda found: (nominal_ratio(found[1][0]), found[1][0].profile, found[0]))


def nominal_ratio(r: AccuracyRecord) -> float:
    """The imbalance ratio that the profile is named for, where that is known; else largest over smallest class."""
    match = RATIO.fullmatch(r.profile)
    if match:
        return float(match[1])
    if r.dataset.startswith("cifar") and r.profile in NAMED:
        return NAMED[r.profile]
    return max(r.class_counts) / max(1, min(r.class_counts))


def _twins(key: str, members: Sequence[AccuracyRecord]) -> list[tuple[str, str, list[AccuracyRecord], list[AccuracyRecord]]]:
    """Long-tailed records and those of their balanced twin, by splits that both have; with a key and what tables are of."""
    balanced = comparable([r for r in members if _is_twin(r)], (*SAME, *SET))
    found = []
    for name, records in comparable([r for r in members if not _is_twin(r)], (*SAME, *SET)):
        for twin_name, twins in balanced:
            twins = [twin for twin in twins if _of_one_size(records[0], twin)]
            places = {(r.split, tuple(r.class_counts)) for r in records} & {(r.split, tuple(r.group_counts)) for r in twins}
            tailed = [r for r in records if (r.split, tuple(r.class_counts)) in places]
            flat = [r for r in twins if (r.split, tuple(r.group_counts)) in places]
            if places:
                apart = apart_by(twin_name)
                subject = captions.subject(tailed[0], name) + (f", twin [{apart}]" if apart else "")
                found.append((name + twin_name, subject, tailed, flat))
    once = Counter(tailed[0].profile for _, _, tailed, _ in found)
    return [(key if once[tailed[0].profile] == 1 else own, subject, tailed, flat) for own, subject, tailed, flat in found]


def _of_one_size(one: AccuracyRecord, other: AccuracyRecord) -> bool:
    return abs(one.n_pretrain - other.n_pretrain) <= SIZES * min(one.n_pretrain, other.n_pretrain)


def _is_twin(r: AccuracyRecord) -> bool:
    return len(set(r.class_counts)) == 1 and r.class_counts != r.group_counts


def _runs(records: Sequence[AccuracyRecord]) -> Runs:
    return {(r.split, r.seed): r for r in records}


def _gaps(balanced: Runs, tailed: Runs, name: str) -> list[float]:
    pairs = [(getattr(balanced[run], name), getattr(tailed[run], name)) for run in sorted(balanced.keys() & tailed.keys())]
    return [flat - long for flat, long in pairs if flat is not None and long is not None]


def _won(method: Runs, baseline: Runs, balanced: Runs, name: str) -> float | None:
    """How far a method is above the baseline on the long-tailed set, in per cent of the baseline's gap.

    None for a single run, and where the gap does not exceed its own deviation over the runs: a share of chance is no share.
    """
    common = _common(method, baseline, balanced)
    values = [[getattr(runs[run], name) for run in common] for runs in (method, baseline, balanced)]
    if len(common) < 2 or any(value is None for of in values for value in of):
        return None
    gaps = [high - low for _, low, high in zip(*values, strict=True)]
    gap = mean(gaps)
    return 100 * (mean(values[0]) - mean(values[1])) / gap if gap > stdev(gaps) else None


def _common(*of: Runs) -> list[tuple[int, int]]:
    return sorted(set.intersection(*(set(runs) for runs in of)))
