"""Costs are of runs, not of records, and what saw more images than SimCLR is named."""

import pytest

from reports.tables.costs import budget_sheets, cost_sheets
from tests.reports.made import COUNTS, made_geometry, made_record

SEEN = 34 * sum(COUNTS)  # by a made run


def rows(sheet):
    return {row[0].value: dict(zip((c.key for c in sheet.columns), row, strict=True)) for row in sheet.rows}


def test_a_run_with_many_probes_counts_once_and_its_probes_seconds_add_up():
    findings = [made_record(probe=probe, split=s) for probe in ("ridge", "knn") for s in (1, 2)]
    findings += [made_geometry(split=s) for s in (1, 2)]
    (sheet,) = cost_sheets(findings)
    row = rows(sheet)["simclr"]
    assert row["runs"].value == 2
    assert row["probe_seconds"].value == 3 + 3 + 5
    assert row["train_hours"].value == pytest.approx(300 / 3600)
    assert "(geometry, knn, ridge)" in sheet.caption
    # the seconds of a probe that one run lacks would make it look cheap
    (sheet,) = cost_sheets([*findings, made_record("byol", probe="knn")])
    assert [row["probe_seconds"].value for row in rows(sheet).values()] == [3, 3]
    assert "(knn)" in sheet.caption
    assert sheet.runs == [("byol-1-0",), ("simclr-1-0", "simclr-2-0")]


def test_images_from_a_pool_are_told_apart():
    (sheet,) = cost_sheets([made_record(), made_record("colt", images_seen=SEEN + 15_000)])
    assert rows(sheet)["simclr"]["extra_images"].value == 0
    assert rows(sheet)["colt"]["extra_images"].value == 15_000
    assert rows(sheet)["colt"]["images_seen"].value == SEEN + 15_000


def test_the_budget_is_relative_to_simclr_and_names_what_saw_more():
    records = [made_record("colt", images_seen=2 * SEEN, train_seconds=450.0), made_record(), made_record("byol")]
    (sheet,) = budget_sheets(records)
    found = rows(sheet)
    assert list(found)[-1] == "colt"  # by images, ascending
    assert found["colt"]["relative_images"].value == 2
    assert found["colt"]["relative_time"].value == 1.5
    assert f"More images than simclr: colt (by {SEEN:,})" in sheet.caption
    assert "byol (by" not in sheet.caption
    assert "No method saw more images than simclr" in budget_sheets(records[1:])[0].caption


def test_without_simclr_the_fewest_images_are_the_measure_and_one_method_is_no_comparison():
    (sheet,) = budget_sheets([made_record("byol", images_seen=100), made_record("colt", images_seen=150)])
    assert rows(sheet)["colt"]["relative_images"].value == 1.5
    assert budget_sheets([made_record()]) == []


def test_untrained_and_foreign_networks_cost_nothing_that_is_known():
    untrained = [made_record(m, epochs=0, images_seen=0, train_seconds=0.0, images_per_second=None) for m in ("simclr", "byol")]
    assert rows(budget_sheets(untrained)[0])["byol"]["relative_images"].value is None
    unknown = dict.fromkeys(("epochs", "batch_size", "images_seen", "train_seconds", "images_per_second", "peak_memory_mb"))
    foreign = [made_record("external", split=s, **unknown) for s in (1, 2)]
    assert rows(cost_sheets(foreign)[0])["external"]["images_seen"].value is None
    assert budget_sheets(foreign) == []
