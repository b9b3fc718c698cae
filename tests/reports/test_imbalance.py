"""Cost of imbalance against the balanced twin, and accuracy by imbalance ratio."""

import pytest

from reports.tables.imbalance import cost_of_imbalance_tables, nominal_ratio, ratio_tables
from tests.reports.made import COUNTS, made_record


def rows(table):
    return [dict(zip((c.key for c in table.columns), row, strict=True)) for row in table.rows]


def balanced(method="simclr", split=1, **changes):
    own = {"profile": "balanced", "class_counts": [1116] * 10, "n_pretrain": 11160, "data": "the balanced twin"}
    return made_record(method, split=split, **(own | {"run_id": f"{method}-{split}-b"} | changes))


def test_the_cost_of_imbalance_is_paired_by_split_and_seed():
    records = [
        made_record(mean=50.0, few=40.0),
        made_record(split=2, mean=52.0, few=41.0),
        made_record("byol", mean=53.0, few=45.0),
        made_record("byol", split=2, mean=54.7, few=45.0),
        made_record("ts", mean=53.0, few=45.0),
    ]
    records += [balanced(mean=60.0, few=55.0), balanced(split=2, mean=61.0, few=57.0), balanced(split=3, mean=99.0)]
    (table,) = cost_of_imbalance_tables(records)
    byol, simclr, ts = rows(table)
    assert simclr["runs"].value == 2
    assert simclr["gap_mean"].value == pytest.approx((10 + 9) / 2)
    assert simclr["gap_few"].value == pytest.approx((15 + 16) / 2)
    # byol has no balanced run, but recovers 5.7 of 19 points on the two runs in common
    assert (byol["gap_mean"].value, byol["runs"].value, byol["recovered_runs"].value) == (None, 0, 2)
    assert byol["recovered_mean"].value == pytest.approx(30)
    assert byol["recovered_few"].value == pytest.approx(100 * 9 / 31)
    assert simclr["recovered_mean"].value == 0
    assert (ts["recovered_mean"].value, ts["recovered_runs"].value) == (None, 1)
    assert table.run_ids[1] == ("simclr-1-0", "simclr-2-0", "simclr-1-b", "simclr-2-b")


def test_nothing_is_recovered_if_the_gap_is_within_its_std():
    records = [made_record(mean=59.6), made_record(split=2, mean=59.0)]
    records += [made_record("byol", mean=61.6), made_record("byol", split=2, mean=61.0)]
    records += [balanced(mean=60.0), balanced(split=2, mean=59.1)]
    for changed, recovered in ((records, 800), ([*records[:-1], balanced(split=2, mean=58.9)], None)):
        byol, _ = rows(cost_of_imbalance_tables(changed)[0])
        assert byol["recovered_mean"].value == (None if recovered is None else pytest.approx(recovered))


def test_each_passport_of_a_split_has_its_own_table_and_rows():
    other = made_record("byol", passport="0" * 12)
    records = [made_record(), other, made_record(split=2), balanced(), balanced("byol"), balanced(split=2)]
    tables = cost_of_imbalance_tables(records)
    assert len({table.name for table in tables}) == len(tables) == 3
    assert sum(table.title.startswith(f"cifar10lt (variant exp-4500-45), split 1 [{'0' * 12}]") for table in tables) == 1
    assert sum(len(table.rows) for table in tables) == 3
    (ratios,) = ratio_tables(records)
    variants = [row["variant"].value for row in rows(ratios) if row["method"].value == "simclr"]
    assert variants == ["balanced", f"exp-4500-45 [{1:012x}]", "exp-4500-45"]


@pytest.mark.parametrize("change", [{"n_pretrain": 45000}, {"preset": "paper"}, {"probe": "knn"}, {"group_counts": [9] * 10}])
def test_only_a_balanced_twin_is_compared_with_the_long_tailed_set(change):
    assert cost_of_imbalance_tables([made_record(), balanced(**change)]) == []


def test_ratios_ascend_at_equal_size():
    ten = made_record(profile="ir=10,n=11165", class_counts=[2731] * 9 + [273], n_pretrain=11_160, data="ir 10", run_id="ten")
    larger = made_record(profile="ir=20", n_pretrain=15_318, data="ir 20", run_id="larger")
    (table,) = ratio_tables([made_record(), ten, balanced(), larger])
    assert [row["ratio"].value for row in rows(table)] == [1, 10, 100]
    assert (table.shared("variant"), "balanced" in table.name) == ("", False)  # several variants
    assert ratio_tables([made_record(), larger]) == []


def test_the_nominal_ratio_of_a_variant():
    assert nominal_ratio(made_record(profile="ir=12.5,n=900")) == 12.5
    assert nominal_ratio(made_record()) == 100
    assert nominal_ratio(made_record(dataset="imagenet100lt", class_counts=[1280, 6])) == pytest.approx(1280 / 6)
    assert nominal_ratio(balanced()) == 1
    assert max(COUNTS) / min(COUNTS) == 100


def test_ratios_are_compared_on_the_runs_that_all_sets_have():
    """Groups differ by many points between splits: other splits at one ratio would look like an effect of the ratio."""
    records = [made_record(split=1, few=40.0), made_record(split=2, few=42.0), made_record(split=3, few=10.0)]
    records += [balanced(few=50.0), balanced(split=2, few=52.0), made_record("byol")]
    (table,) = ratio_tables(records)
    found = [(row["method"].value, row["ratio"].value, row["few"].value, row["runs"].value) for row in rows(table)]
    assert found == [("simclr", 1, 51, 2), ("simclr", 100, 41, 2)]
    assert "splits 1, 2; seed 0" in table.caption
    apart = made_record(split=6, profile="ir=50,n=11165", data="of ratio 50", run_id="apart")
    assert [row["ratio"].value for row in rows(ratio_tables([*records, apart])[0])] == [1, 100]
    assert ratio_tables([made_record(split=3), balanced(split=1)]) == []


def test_the_caption_of_the_cost_of_imbalance_has_the_runs_of_the_differences():
    records = [made_record(split=split, seed=seed) for split in (1, 2) for seed in (0, 1)]
    (table,) = cost_of_imbalance_tables([*records, balanced(), balanced(split=2)])
    assert "(splits 1, 2; seed 0)" in table.caption


def test_the_caption_of_the_cost_of_imbalance_names_reconstructions_without_a_balanced_run():
    (table,) = cost_of_imbalance_tables([made_record(), balanced(), made_record("tase", true_labels=True)])
    assert [row["method"].value for row in rows(table)] == ["simclr", "tase"]
    assert "TASE-R is a reconstruction" in table.caption
    assert "an ablation that uses the labels" in table.caption
