"""Ranks against slow loops, and the choice of blocks."""

import numpy as np
import pytest
from msgspec.structs import replace
from scipy.stats import friedmanchisquare

from reports.comparable import method_name
from reports.figures.ranks import equal_groups, rank_diagrams
from reports.figures.setting import MethodOrder, probe_settings
from reports.tables.ranks import Ranks, rank_tables, ranks
from reports.tables.text import csv_text
from tests.reports.made import made_record

TABLE = np.round(np.random.default_rng(5).normal([50, 51, 51, 53], 1, (14, 4)))  # with ties
METHODS = ("simclr", "byol", "ts", "colt")


def records(table, methods=METHODS, **fields):
    """One record for each element of a table of runs by methods; the metric is `few`."""
    return [
        replace(made_record(method, split=split, **fields), few=float(value), run_id=f"{method}{split}")
        for split, row in enumerate(table, start=1)
        for method, value in zip(methods, row, strict=True)
    ]


def test_mean_ranks_equal_a_loop_and_the_critical_difference_the_published_constant():
    found = ranks(records(TABLE), "few")
    assert found.blocks == 14
    expected = {
        method: np.mean([sum(row > row[place]) + (sum(row == row[place]) + 1) / 2 for row in TABLE])
        for place, method in enumerate(METHODS)
    }
    assert dict(zip(found.methods, found.mean_ranks, strict=True)) == pytest.approx(expected)
    assert list(found.mean_ranks) == sorted(found.mean_ranks)
    assert found.critical_difference == pytest.approx(2.569 * (4 * 5 / (6 * 14)) ** 0.5, abs=1e-3)  # Demšar 2006, table 5
    assert found.p == pytest.approx(friedmanchisquare(*TABLE.T).pvalue)


def test_fractions_of_better_runs():
    found = ranks(records(TABLE), "few")
    a, b = found.methods.index("byol"), found.methods.index("simclr")
    wins, ties = (TABLE[:, 1] > TABLE[:, 0]).sum(), (TABLE[:, 1] == TABLE[:, 0]).sum()
    assert found.better[a, b] == pytest.approx((wins + ties / 2) / 14)
    assert found.better + found.better.T == pytest.approx(np.ones((4, 4)))


def test_methods_without_all_blocks_are_left_out():
    incomplete = [record for record in records(TABLE) if (record.method, record.split) != ("ts", 3)]
    found = ranks(incomplete, "few")
    assert (found.left_out, sorted(found.methods)) == (["ts"], ["byol", "colt", "simclr"])


def test_too_few_runs_or_methods_have_no_ranks():
    assert ranks(records(TABLE[:4]), "few") is None
    assert ranks(records(TABLE[:, :2], METHODS[:2]), "few") is None
    assert ranks([], "few") is None


def test_several_benchmarks_are_one_table():
    both = [*records(TABLE[:5]), *(replace(r, dataset="cifar100lt", run_id=f"{r.run_id}x") for r in records(TABLE[5:8]))]
    tables = [table for table in rank_tables(both) if table.name.startswith("ranks-few")]
    assert len(tables) == 1
    assert tables[0].title.startswith("cifar100lt, cifar10lt, mean ranks, Few,")
    assert "n = 8 blocks" in tables[0].caption
    assert "the row is better than the column" in tables[0].caption


@pytest.mark.parametrize(
    ("gain", "sentence"),
    [
        (np.zeros((5, 4)), "All methods tie in every block."),  # of which scipy's p is NaN
        (np.outer(np.arange(5), np.ones(4)), "All methods tie in every block."),
        (np.arange(20).reshape(5, 4) * [1, 1, 1, -1], "Friedman test: p = 0.0018."),
        (np.outer(np.ones(30), np.arange(4)), "Friedman test: p < 0.0001."),
    ],
)
def test_table_and_figure_give_the_same_result_of_the_test(gain, sentence):
    made = records(40.0 + gain)
    (setting,) = probe_settings(made, MethodOrder(made, method_name))
    captions = [table.caption for table in rank_tables(made) if table.name.startswith("ranks-few")]
    captions += [plot.caption for plot in rank_diagrams(setting, method_name) if plot.kind == "ranks-few"]
    assert [sentence in caption for caption in captions] == [True, True]
    assert not any("nan" in caption for caption in captions)


def test_bars_of_equal_methods_are_horizontal_and_span_their_ranks():
    made = records(TABLE)
    (setting,) = probe_settings(made, MethodOrder(made, method_name))
    plot = next(rank_diagrams(setting, method_name))
    found = ranks(made, "few")
    _, *bars = [line.get_xydata() for line in plot.figure.axes[0].lines]
    assert len(bars) == len(equal_groups(found)) > 0
    assert all(low == high for (_, low), (_, high) in bars)
    spans = [tuple(found.mean_ranks[[start, end]]) for start, end in equal_groups(found)]
    assert [(left, right) for (left, _), (right, _) in bars] == spans


def test_groups_within_the_critical_difference():
    found = Ranks(list("abcd"), np.array([1.0, 1.5, 2.4, 4.0]), np.eye(4), 0.01, 1.0, 9, [], [])
    assert equal_groups(found) == [(0, 1), (1, 2)]


def test_blocks_are_splits_by_means_over_their_seeds():
    """Also where some methods have one seed; with one split, blocks are its seeds."""
    seeds = [
        replace(r, seed=seed, few=r.few + seed, run_id=f"{r.run_id}-{seed}") for seed in (0, 1, 2) for r in records(TABLE[:6])
    ]
    some = [record for record in seeds if record.seed == 0 or record.method == "simclr"]
    moved = TABLE[:6] + np.array([1, 0, 0, 0])
    found, expected = ranks(some, "few"), ranks(records(moved), "few")
    assert (found.blocks, found.methods, found.left_out) == (6, expected.methods, [])
    assert found.mean_ranks == pytest.approx(expected.mean_ranks)
    assert len(found.records) == 6 * (3 + 1 + 1 + 1)
    alone = [replace(r, split=1, seed=r.split) for r in records(TABLE[:6])]
    assert ranks(alone, "few").blocks == 6
    assert ranks(alone, "few").mean_ranks == pytest.approx(ranks(records(TABLE[:6]), "few").mean_ranks)


def test_settings_of_a_benchmark_with_fewer_methods_do_not_count():
    """Untrained networks, other variants and budgets of some methods: else no method but SimCLR has all blocks."""
    made = records(TABLE[:6])
    fewer = [replace(r, profile="balanced", run_id=f"{r.run_id}b") for r in made if r.method in ("simclr", "colt")]
    other = [replace(r, dataset="cifar100lt", run_id=f"{r.run_id}x") for r in made if r.method != "ts"]
    assert ranks([*made, *fewer], "few").mean_ranks == pytest.approx(ranks(made, "few").mean_ranks)
    equal = [replace(r, profile="balanced", run_id=f"{r.run_id}b") for r in made]
    assert ranks([*made, *equal], "few").blocks == 12
    both = ranks([*made, *other], "few")
    assert (both.blocks, both.left_out) == (12, ["ts"])


@pytest.mark.parametrize(("count", "printed"), [(10, True), (11, False)])
def test_pairs_of_many_methods_are_in_the_csv_only(count, printed):
    stream = np.random.default_rng(0)
    (table, *_) = rank_tables(records(stream.normal(50, 1, (5, count)), [f"m{n}" for n in range(count)]))
    assert len(table.printed_columns()) == (2 + count if printed else 2)
    assert "better_than_m3" in csv_text(table)
    assert ("are in the CSV" in table.details, "Fractions:" in table.caption) == (not printed, printed)


def test_protocols_of_a_probe_are_not_ranked_together():
    of_two = [replace(r, protocol="another") if r.method == "byol" else r for r in records(TABLE)]
    found = ranks(of_two, "few")
    assert sorted(found.methods) == ["colt", "simclr", "ts"]
    assert ranks([r for r in of_two if r.method != "ts"], "few") is None
