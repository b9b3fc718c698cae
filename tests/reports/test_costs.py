"""Tables of costs and budgets."""

import pytest
from msgspec.structs import asdict

from reports.shipped_record import ShippedRecord
from reports.tables.costs import budget_tables, cost_tables
from tests.reports.made import COUNTS, made_geometry, made_record

SEEN = 34 * sum(COUNTS)  # by a made run


def rows(table):
    return {row[0].value: dict(zip((c.key for c in table.columns), row, strict=True)) for row in table.rows}


def test_a_run_with_several_probes_is_counted_once_and_its_probe_seconds_are_summed():
    records = [made_record(probe=probe, split=s) for probe in ("ridge", "knn") for s in (1, 2)]
    records += [made_geometry(split=s) for s in (1, 2)]
    (table,) = cost_tables(records)
    row = rows(table)["simclr"]
    assert row["runs"].value == 2
    assert row["probe_seconds"].value == 3 + 3 + 5
    assert row["train_minutes"].value == pytest.approx(300 / 60)
    assert "(geometry, knn, ridge)" in table.details
    # probes that one run lacks are left out, else the sums would not be comparable
    (table,) = cost_tables([*records, made_record("byol", probe="knn")])
    assert [row["probe_seconds"].value for row in rows(table).values()] == [3, 3]
    assert "(knn)" in table.details
    assert table.run_ids == [("byol-1-0",), ("simclr-1-0", "simclr-2-0")]


@pytest.mark.parametrize(
    ("seconds", "head", "text"),
    [
        ([0.4, 90], "Seconds", "0.4"),
        ([59, 3600], "Seconds", "59.0"),
        ([60, 90], "Minutes", "1.0"),
        ([None, 0.0], "Minutes", "-"),
    ],
)
def test_a_short_training_is_printed_in_seconds(seconds, head, text):
    (table,) = cost_tables([made_record(train_seconds=seconds[0]), made_record("byol", train_seconds=seconds[1])])
    printed = [table.columns[place] for place in table.printed_columns()]
    (time,) = [column for column in printed if column.head in ("Seconds", "Minutes")]
    assert time.head == head
    assert rows(table)["simclr"][time.key].format(time)[0] == text
    assert {"train_minutes", "train_seconds"} <= rows(table)["simclr"].keys()  # of the CSV


def test_pool_images_are_counted_separately():
    (table,) = cost_tables([made_record(), made_record("colt", images_seen=SEEN + 15_000)])
    assert rows(table)["simclr"]["extra_images"].value == 0
    assert rows(table)["colt"]["extra_images"].value == 15_000
    assert rows(table)["colt"]["images_seen"].value == SEEN + 15_000


def test_the_budget_is_relative_to_simclr_and_lists_methods_with_more_images():
    records = [made_record("colt", images_seen=2 * SEEN, train_seconds=450.0), made_record(), made_record("byol")]
    (table,) = budget_tables(records)
    found = rows(table)
    assert list(found)[-1] == "colt"  # by images, ascending
    assert found["colt"]["relative_images"].value == 2
    assert found["colt"]["relative_time"].value == 1.5
    assert f"trained on more images than simclr, so not at equal budget: colt (+{SEEN:,})." in table.details
    assert "byol (" not in table.details
    assert "No method was trained on more images than simclr" in budget_tables(records[1:])[0].details


def test_without_simclr_the_method_with_the_fewest_images_is_the_reference():
    (table,) = budget_tables([made_record("byol", images_seen=100), made_record("colt", images_seen=150)])
    assert rows(table)["colt"]["relative_images"].value == 1.5
    assert budget_tables([made_record()]) == []


def test_untrained_and_external_networks_have_no_costs():
    untrained = [made_record(m, epochs=0, images_seen=0, train_seconds=0.0, images_per_second=None) for m in ("simclr", "byol")]
    assert rows(budget_tables(untrained)[0])["byol"]["relative_images"].value is None
    unknown = dict.fromkeys(("epochs", "batch_size", "images_seen", "train_seconds", "images_per_second", "peak_memory_mb"))
    foreign = [made_record("external", split=s, **unknown) for s in (1, 2)]
    assert rows(cost_tables(foreign)[0])["external"]["images_seen"].value is None
    assert budget_tables(foreign) == []


@pytest.mark.parametrize(("seconds", "text"), [(0.0, "0.0"), (0.004, "<0.1"), (0.04, "<0.1"), (0.06, "0.1")])
def test_a_cost_that_is_rounded_away_is_not_printed_as_zero(seconds, text):
    (table,) = cost_tables([made_record(probe_seconds=seconds)])
    place = [column.key for column in table.columns].index("probe_seconds")
    assert table.rows[0][place].format(table.columns[place])[0] == text


def test_a_submission_with_the_id_of_a_shipped_run_is_a_row_of_its_own():
    shipped = made_record(train_seconds=300.0)
    values = asdict(shipped) | {"train_seconds": 600.0, "probe_seconds": 9.0}
    submitted = ShippedRecord(**values, trained_in="bf16", submission="mine")
    (table,) = cost_tables([shipped, submitted])
    found = [dict(zip((c.key for c in table.columns), row, strict=True)) for row in table.rows]
    assert [(row["train_minutes"].value, row["probe_seconds"].value) for row in found] == [(5, 3), (10, 9)]
