"""Analysis tables against slow reference computations."""

from itertools import combinations

import numpy as np
import pytest
from msgspec.structs import replace

from reports.tables.analysis import agreement_tables, curve_tables, geometry_tables, tail_tables
from run_store.records import CurvePoint
from tests.reports.made import made_geometry, made_record

METHODS = ("simclr", "byol", "ts", "colt")


def rows(table):
    return [dict(zip((c.key for c in table.columns), row, strict=True)) for row in table.rows]


def ranked(probe, means, splits=(1,)):
    """A record of each method on each split, of these means."""
    return [
        made_record(method, probe=probe, split=split, mean=mean, few=mean)
        for method, mean in zip(METHODS, means, strict=False)
        for split in splits
    ]


def slow_tau(first, second):
    pairs = list(combinations(range(len(first)), 2))
    return sum(np.sign((first[a] - first[b]) * (second[a] - second[b])) for a, b in pairs) / len(pairs)


def test_agreement_is_kendalls_tau_and_names_the_best():
    one, other = (50.0, 51.0, 52.0, 53.0), (50.0, 52.0, 51.0, 49.0)
    by_all, by_few = agreement_tables([*ranked("ridge", one), *ranked("knn", other)])
    knn, ridge = rows(by_all)
    assert knn["ridge"].value == ridge["knn"].value == pytest.approx(slow_tau(one, other))
    assert (knn["best"].value, ridge["best"].value) == ("byol", "colt")
    assert "n = 4 methods" in by_all.caption
    assert by_few.name.startswith("agreement-few-")


def test_two_methods_have_no_ranking_and_settings_are_not_mixed():
    assert agreement_tables([*ranked("ridge", (1.0, 2.0)), *ranked("knn", (1.0, 2.0))]) == []
    elsewhere = [replace(r, preset="paper") for r in ranked("knn", (1.0, 2.0, 3.0))]
    assert agreement_tables([*ranked("ridge", (1.0, 2.0, 3.0)), *elsewhere]) == []


def test_probes_are_ranked_on_the_runs_that_both_have():
    # split 2, which one probe alone has, would turn the order round
    full = [
        *ranked("ridge", (1.0, 2.0, 3.0)),
        *(replace(r, mean=60 - 20 * r.mean) for r in ranked("ridge", (1, 2, 3), (2,))),
    ]
    by_all, _ = agreement_tables([*full, *ranked("knn", (1.0, 2.0, 3.0))])
    assert rows(by_all)[0]["ridge"].value == 1


def test_methods_are_ranked_on_the_runs_that_all_have():
    """A hard split 2 that the best method alone was run on, besides split 1, must not make it the worst of one probe."""
    further = [made_record("ts", probe=p, split=2, mean=m, few=m) for p, m in (("ridge", 0.0), ("knn", 3.0))]
    by_all, _ = agreement_tables([*ranked("ridge", (1.0, 2.0, 3.0)), *ranked("knn", (1.0, 2.0, 3.0)), *further])
    assert rows(by_all)[0]["ridge"].value == 1
    assert "n = 3 methods on 1 run." in by_all.caption
    elsewhere = [r for probe in ("ridge", "knn") for r in [*ranked(probe, (1.0, 2.0)), made_record("ts", probe=probe, split=2)]]
    assert agreement_tables(elsewhere) == []


def test_a_caption_does_not_list_every_two_probes():
    probes = [f"probe{n}" for n in range(12)]
    found = [r for n, probe in enumerate(probes) for r in ranked(probe, (1.0, 2.0, 3.0, 4.0)[: 3 + n % 2])]
    by_all, _ = agreement_tables(found)
    assert "n = 3 to 4 methods on 1 run." in by_all.caption
    assert "probe1 and" not in by_all.caption


def test_tail_tables_count_runs_and_leave_out_methods_without_scores():
    records = [made_record(probe=p, split=s, tail_auroc=0.5 + s / 10) for p in ("knn", "ridge") for s in (1, 2)]
    records += [made_record("byol", tail_auroc=None, tail_spearman=None)]
    (table,) = tail_tables(records)
    (row,) = rows(table)
    assert (row["method"].value, row["runs"].value) == ("simclr", 2)
    assert row["tail_auroc"].value == pytest.approx(0.65)
    assert row["tail_auroc"].std == pytest.approx(0.1 / 2**0.5)


def test_geometry_is_by_group_and_an_empty_group_stays_empty():
    found = [made_geometry(split=s) for s in (1, 2)]
    found[1] = replace(found[1], alignment=found[1].alignment | {"all": 0.6})
    none = {"all": 1.0, "many": 1.0, "medium": 1.0, "few": None}
    found.append(made_geometry("byol", alignment=none, uniformity=none, effective_rank=none))
    byol, simclr = rows(geometry_tables(found)[0])
    assert simclr["alignment_all"].value == pytest.approx(0.5)
    assert byol["effective_rank_few"].value is None


def test_a_curve_has_a_row_per_number_of_shots():
    def curve(mean):
        return [CurvePoint(shots=n, mean=mean + n, sd=2.0, many=1.0, medium=2.0, few=3.0) for n in (1, 10)]

    (table,) = curve_tables([made_record(split=s, curve=curve(10.0 * s)) for s in (1, 2)] + [made_record("byol")])
    first, second = rows(table)
    assert (first["shots"].value, second["shots"].value) == (1, 10)
    assert first["mean"].value == pytest.approx(16)
    assert first["mean"].std == pytest.approx(50**0.5)
    assert first["draws_sd"].value == 2
    assert curve_tables([made_record()]) == []
