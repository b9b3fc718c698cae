"""What imbalance costs: runs on the balanced twin beside those on the long-tailed set, and accuracy by imbalance ratio."""

import re
from collections.abc import Sequence

from reports import captions
from reports.comparable import Title, by_method, comparable, method_key, method_name, table_name
from reports.records import Record
from reports.tables.accuracy import METRICS, cell, entry
from reports.tables.costs import BASELINE
from reports.tables.forms import Column, Entry, Sheet

SAME = ("dataset", "mark", "preset", "recipe", "precision", "executor", "probe", "protocol")  # all but the pretraining set
ACCURACIES = ("mean", "many", "medium", "few")
NAMED = {"sdclr": 100.0, "cao": 100.0, "gh": 100.0}  # nominal ratios of CIFAR profiles that do not spell theirs
RATIO = re.compile(r"ir=([0-9.e+]+)(?:,n=\d+)?")
SIZES = 0.01  # by which share sizes may differ that count as equal: whole images of whole classes never give the same number

Runs = dict[tuple[int, int], Record]  # by split and seed


def cost_of_imbalance_sheets(records: Sequence[Record], title: Title = method_name) -> list[Sheet]:
    """Accuracy on the balanced twin minus that on the long-tailed set, by method and group, and what is won back of SimCLR's.

    The balanced twin of a set is a profile of its size whose classes are equal but whose groups are decided by the set's own
    counts. Runs are paired by split and seed; all else is equal.
    """
    columns = [Column("Method", "method")]
    columns += [Column(METRICS[name], f"gap_{name}", "balanced − long-tailed", spread=True, absent="-") for name in ACCURACIES]
    columns += [Column(METRICS[name], f"won_{name}", "won back, %", absent="-") for name in ("mean", "few")]
    columns += [Column("n", "runs")]
    sheets = []
    for key, members in comparable(records, SAME):
        twins: dict[tuple[int, tuple[int, ...]], list[Record]] = {}
        for r in members:
            if _is_flat(r) and r.class_counts != r.group_counts:
                twins.setdefault((r.split, tuple(r.group_counts)), []).append(r)
        by_profile: dict[str, list[Record]] = {}
        for r in members:
            if any(_of_one_size(r, twin) for twin in twins.get((r.split, tuple(r.class_counts)), ())):
                by_profile.setdefault(r.profile, []).append(r)
        for lists in by_profile.values():
            places = {(r.split, tuple(r.class_counts)) for r in lists}
            flat = [twin for place in sorted(places) for twin in twins[place] if _of_one_size(lists[0], twin)]
            balanced = {method: _runs(of) for method, of in by_method(flat).items()}
            tailed = {method: _runs(of) for method, of in by_method(lists).items()}
            baseline = next((method for method in tailed if method[0] == BASELINE and method in balanced), None)
            names = {method_key(r): title(r) for r in [*flat, *lists]}
            rows = []
            for method, runs in tailed.items():
                gaps = [entry(cell(_gaps(balanced.get(method, {}), runs, name))) for name in ACCURACIES]
                won = [
                    Entry(None if baseline is None else _won(runs, tailed[baseline], balanced[baseline], name))
                    for name in ("mean", "few")
                ]
                n = len(runs.keys() & balanced.get(method, {}).keys())
                rows.append([Entry(names[method]), *gaps, *won, Entry(n)])
            first = lists[0]
            measure = f"that of {names[baseline]}" if baseline else "SimCLR's, which is not on both sets here"
            sheets.append(
                Sheet(
                    f"imbalance-{table_name(first, key, first.probe)}",
                    f"{captions.subject(first)}, what imbalance costs in points of test accuracy, probe {first.probe}",
                    f"Data: {first.data}; its balanced twin: {flat[0].data}. "
                    f"{captions.training(first, f'{first.n_pretrain} long-tailed or {flat[0].n_pretrain} balanced images')} "
                    f"{captions.probe(lists)} {captions.groups(first)} {captions.runs([*lists, *flat])} Differences of runs of "
                    "one split and seed; n: such pairs. Won back: how far a method on the long-tailed set is above the "
                    f"baseline there, in % of the baseline's gap, on common runs; the gap is {measure}.",
                    columns,
                    rows,
                    first,
                    first.probe,
                )
            )
    return sheets


def ratio_sheets(records: Sequence[Record], title: Title = method_name) -> list[Sheet]:
    """Accuracies by imbalance ratio, ascending, at equal size and all else equal; a table where there are two ratios."""
    columns = [Column("Method", "method"), Column("Ratio", "ratio", decimals=0), Column("Images", "images")]
    columns += [Column("Profile", "profile", reach="text")]
    columns += [Column(head, name, spread=True) for name, head in METRICS.items()]
    columns += [Column("n", "runs")]
    sheets = []
    for key, members in comparable(records, SAME):
        for group in _by_size(members):
            if len({nominal_ratio(r) for r in group}) < 2:
                continue
            rows = []
            for of in by_method(group).values():
                settings = sorted({(nominal_ratio(r), r.profile, r.data) for r in of})
                for ratio, profile, data in settings:
                    runs = [r for r in of if (r.profile, r.data) == (profile, data)]
                    accuracies = [entry(cell(getattr(r, name) for r in runs)) for name in METRICS]
                    size = Entry(runs[0].n_pretrain)
                    rows.append([Entry(title(of[0])), Entry(ratio), size, Entry(profile), *accuracies, Entry(len(runs))])
            sizes = sorted({r.n_pretrain for r in group})
            first = group[0]
            images = f"{sizes[0]} to {sizes[-1]} images" if len(sizes) > 1 else f"{sizes[0]} images"
            sheets.append(
                Sheet(
                    f"ratio-{first.dataset}-{sizes[0]}-{table_name(first, key, first.probe).removeprefix(first.dataset + '-')}",
                    f"{first.dataset}, test accuracy in % by imbalance ratio at equal size, probe {first.probe}",
                    f"Data: {'; '.join(sorted({r.data for r in group}))}. {captions.training(first, images)} "
                    f"{captions.probe(group)} {captions.groups(first)} {captions.runs(group)} Ratio: of the largest class to "
                    f"the smallest, as the profile is named. Sizes within {SIZES:.0%} count as equal. Groups are of each "
                    "profile's own counts, at ratio 1 of the long-tailed set's.",
                    columns,
                    rows,
                    first,
                    first.probe,
                )
            )
    return sheets


def nominal_ratio(r: Record) -> float:
    """The imbalance ratio that the profile is named for, where that is known; else largest over smallest class."""
    match = RATIO.fullmatch(r.profile)
    if match:
        return float(match[1])
    if r.dataset.startswith("cifar") and r.profile in NAMED:
        return NAMED[r.profile]
    return max(r.class_counts) / max(1, min(r.class_counts))


def _by_size(records: Sequence[Record]) -> list[list[Record]]:
    groups: list[list[Record]] = []
    for record in sorted(records, key=lambda r: r.n_pretrain):  # a stable sort: the order within a size stays
        if groups and _of_one_size(groups[-1][0], record):
            groups[-1].append(record)
        else:
            groups.append([record])
    return groups


def _of_one_size(one: Record, other: Record) -> bool:
    return abs(one.n_pretrain - other.n_pretrain) <= SIZES * min(one.n_pretrain, other.n_pretrain)


def _is_flat(r: Record) -> bool:
    return len(set(r.class_counts)) == 1


def _runs(records: Sequence[Record]) -> Runs:
    return {(r.split, r.seed): r for r in records}


def _gaps(balanced: Runs, tailed: Runs, name: str) -> list[float]:
    pairs = [(getattr(balanced[run], name), getattr(tailed[run], name)) for run in sorted(balanced.keys() & tailed.keys())]
    return [flat - long for flat, long in pairs if flat is not None and long is not None]


def _won(method: Runs, baseline: Runs, balanced: Runs, name: str) -> float | None:
    """How far a method is above the baseline on the long-tailed set, in per cent of the baseline's gap; None without a gap."""
    common = sorted(method.keys() & baseline.keys() & balanced.keys())
    values = [[getattr(runs[run], name) for run in common] for runs in (method, baseline, balanced)]
    if not common or any(value is None for of in values for value in of):
        return None
    mine, low, high = (sum(of) / len(common) for of in values)
    return 100 * (mine - low) / (high - low) if high > low else None
