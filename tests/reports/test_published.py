"""Published numbers: matching with our runs, obstacles and status."""

import dataclasses

import pytest

from reports.tables.accuracy import MeanStd
from reports.tables.published import POINTS, obstacles, published_tables, read_published, status
from reports.tables.text import markdown_text
from tests.reports.made import made_record

PAPER = {
    "preset": "paper",
    "backbone": "resnet18",
    "epochs": 2000,
    "batch_size": 512,
    "recipe": {"backbone": "resnet18", "epochs": 2000, "batch_size": 512, "optimizer": "sgd", "lr": 0.5, "weight_decay": 1e-4}
    | {"sizes": [32], "warmup_epochs": 10.0, "final_lr": 1e-6},
}


def runs(splits=(1, 2, 3, 4, 5), method="simclr", probe="sdclr", **changes):
    return [made_record(method, probe=probe, split=split, **(PAPER | changes)) for split in splits]


def column(table, name):
    place = [column.key for column in table.columns].index(name)
    return [row[place].value for row in table.rows]


def row_of(method, protocol, split):
    (row,) = [
        p
        for p in read_published()
        if (p.method, p.our_dataset, p.split) == (method, "cifar10lt", split) and protocol in p.protocol
    ]
    return row


TABLE4 = ("SimCLR", "A: full-shot", "mean of 5")


def test_every_published_row_has_a_source_and_a_number():
    rows = read_published()
    assert len(rows) == 38 + 53 + 36 + 35
    assert all(row.source and row.values for row in rows)
    # numbers as they were published
    assert row_of(*TABLE4).values == {"many": 78.18, "medium": 76.23, "few": 71.37}
    assert [row.values["avg"] for row in rows if row.method == "BCL-D"] == [58.7, 52.6, 48.7]


def test_rows_on_balanced_data_appear_beside_the_balanced_profile_alone():
    balanced = [row for row in read_published() if "balanced" in row.dataset]
    assert len(balanced) == 11 + 53
    assert {row.our_profile for row in balanced} == {"", "balanced"}
    (table,) = published_tables(runs(profile="balanced", backbone="resnet18", epochs=1000))
    assert column(table, "published") == [90.74]
    assert column(table, "status") == ["not comparable"]
    assert column(table, "why") == ["trained on all images of CIFAR-10 instead of the balanced twin"]
    usual = [record for probe in ("sdclr", "sdclr-cached", "ridge", "knn") for record in runs(probe=probe)]
    shown = {text for table in published_tables(usual) for text in column(table, "published_as")}
    assert len(shown) == 2  # the mean of five splits, and the author's repetition
    assert all(text.startswith("SimCLR, A: ") for text in shown)


@pytest.mark.parametrize("method", ["simclr", "sdclr", "ts"])
@pytest.mark.parametrize("dataset", ["cifar10lt", "cifar100lt", "imagenet100lt"])
def test_rows_on_images_of_a_study_are_not_comparable_with_any_run(method, dataset):
    """Even for a run with all settings that are known of it."""
    own = [
        row for row in read_published() if "own set" in row.dataset and (row.our_method, row.our_dataset) == (method, dataset)
    ]
    assert len(own) == 2
    for row in own:
        alike = runs((1, 2, 3), method, row.our_probes[0], dataset=dataset, backbone="resnet50", epochs=row.epochs)
        assert obstacles(row, alike) == [row.obstacle]
        assert row.obstacle.startswith("own long-tailed sets (Pareto")
        statuses = [s for table in published_tables(alike, published=[row]) for s in column(table, "status")]
        assert statuses == ["not comparable"]


def test_a_study_that_states_no_probe_has_no_counterpart():
    unstated = [row for row in read_published() if row.protocol == "not stated"]
    assert len(unstated) == 35
    assert not any(row.our_dataset or row.our_probes for row in unstated)


def test_ours_is_matched_by_method_data_and_protocol():
    (table,) = published_tables(runs())
    assert column(table, "published") == [78.18, 76.23, 71.37, 84.28]
    assert column(table, "runs") == [5, 5, 5, 1]  # the last is of split 1 alone
    assert set(column(table, "status")) <= {"reproduced", "below", "above"}
    for changed in ({"profile": "cao"}, {"dataset": "cifar100lt"}, {"probe": "ridge"}, {"method": "byol"}):
        assert published_tables(runs(**changed)) == []


def test_the_status_is_by_deviations_or_a_point():
    row = row_of(*TABLE4)
    many = row.values["many"]
    assert status(row, "many", MeanStd(many + 3.9, 2.0), []) == "reproduced"
    assert status(row, "many", MeanStd(many + 4.1, 2.0), []) == "above"
    assert status(row, "many", MeanStd(many - POINTS + 0.01, None), []) == "reproduced"
    assert status(row, "many", MeanStd(many - POINTS - 0.01, None), []) == "below"
    assert status(row, "many", MeanStd(many - 0.9, 0.0), []) == "reproduced"


OBSTACLES = {
    "CPU-scale": {"preset": "cpu"},
    "other epochs (200 vs 2000)": {"epochs": 200},
    "backbone (slim-resnet8 vs resnet18)": {"backbone": "slim-resnet8"},
    "temperature (0.5 vs 0.2)": {"hparams": {"temperature": 0.5}},
    "data (surrogate-order)": {"mark": "surrogate-order"},
    "split (of this suite vs 1, 2, 3, 4, 5)": {"official_split": False},
    "pretrained on cifar100lt": {"recipe": PAPER["recipe"] | {"pretrained_on": "cifar100lt"}},
}


@pytest.mark.parametrize("reason", OBSTACLES)
def test_obstacles_make_a_number_not_comparable(reason):
    of = runs(**OBSTACLES[reason])
    assert obstacles(row_of(*TABLE4), of) == [reason]
    (table,) = published_tables(of)
    assert set(column(table, "status")) == {"not comparable"}
    assert reason in column(table, "why")[0]


def test_a_setting_of_the_recipe_is_an_obstacle_with_its_value():
    row = dataclasses.replace(row_of(*TABLE4), agree={"optimizer": "lars"})
    assert obstacles(row, runs()) == ["optimizer (sgd vs lars)"]
    keys = [column.key for column in published_tables(runs())[0].columns]
    assert keys.index("status") == keys.index("ours") + 1


def test_missing_splits_are_an_obstacle_where_the_published_number_is_over_all():
    assert obstacles(row_of(*TABLE4), runs(splits=(1, 2))) == ["split (1, 2 vs 1, 2, 3, 4, 5)"]
    assert obstacles(row_of("SimCLR", "re-run", "split1"), runs(splits=(1, 2))) == []


def test_cached_features_and_other_settings_are_listed():
    (table,) = published_tables(runs(probe="sdclr-cached"))
    assert column(table, "differs")[0] == "on cached features"
    (table,) = published_tables(runs(method="sdclr", hparams={"temperature": 0.2, "head_layers": 2}))
    assert "head_layers (2 vs 3)" in column(table, "differs")[0]
    assert "on cached features" in markdown_text(published_tables(runs(probe="sdclr-cached"))[0])


def test_an_unverified_number_has_that_status():
    unverified = dataclasses.replace(row_of(*TABLE4), source="UNVERIFIED: a secondary summary")
    (table,) = published_tables(runs(), published=[unverified])
    assert set(column(table, "status")) == {"unverified"}
