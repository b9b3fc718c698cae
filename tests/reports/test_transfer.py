"""Networks that are probed on other data than they were trained on: each is one sample, with the tail score of its own data."""

import pytest
from msgspec.structs import replace

from reports.tables.accuracy import build_tables
from reports.tables.analysis import tail_tables
from reports.tables.costs import cost_tables
from reports.tables.imbalance import cost_of_imbalance_tables, equal_size_groups
from reports.tables.ranks import ranks
from reports.tables.significance import COMPARED, best_rows, difference
from tests.reports.made import made_record
from tests.reports.test_imbalance import balanced

TRAINED_ON = {"recipe": made_record().recipe | {"pretrained_on": "cifar100lt (profile sdclr)"}}
EXTERNAL = {"epochs": None, "train_seconds": None, "images_seen": None, "pretrain_sha256": ""}


def networks(method, values, **changes):
    """A record on split 1 of each of several networks, which were trained on splits that records do not have."""
    return [
        made_record(method, run_id=f"{method}-{n}", pretrain_sha256=f"{n:08x}", **dict.fromkeys(COMPARED, value), **changes)
        for n, value in enumerate(values)
    ]


def splits(method, values, **changes):
    """Records of one network on splits from 1 on."""
    return [made_record(method, split=n, **dict.fromkeys(COMPARED, v), **changes) for n, v in enumerate(values, start=1)]


def test_networks_of_several_splits_are_paired_by_their_pretraining_sets():
    first, second = networks("byol", [51, 53, 52, 57, 51], **TRAINED_ON), networks("simclr", [50, 51, 52, 53, 54], **TRAINED_ON)
    found = difference(reversed(first), second, "few")
    assert (found.pairs, found.mean) == (5, pytest.approx(0.8))
    assert found.low is not None
    assert ranks([*first, *second, *networks("ts", [1, 2, 3, 4, 5], **TRAINED_ON)], "few").blocks == 5


@pytest.mark.parametrize("training", [TRAINED_ON, EXTERNAL])
def test_a_network_on_several_splits_is_one_sample(training):
    rows = [splits(name, [50 + n, 51, 52, 53, 54 + n], **training) for n, name in enumerate(("simclr", "byol", "ts"))]
    found = difference(rows[1], rows[0], "few")
    assert (found.pairs, found.low, found.mean) == (1, None, pytest.approx(0.4))
    assert all(best.best is None for best in best_rows(rows).values())
    assert ranks([record for row in rows for record in row], "few") is None
    (table,) = build_tables([record for row in rows for record in row])
    assert "Nothing is bold" in table.comparison


def test_its_training_is_counted_once():
    (table,) = cost_tables(splits("simclr", [50, 51, 52], **TRAINED_ON))
    (row,) = table.rows
    cells = dict(zip((column.key for column in table.columns), row, strict=True))
    assert (cells["runs"].value, cells["train_minutes"].value, cells["train_minutes"].std) == (1, 5, None)


@pytest.mark.parametrize("training", [TRAINED_ON, EXTERNAL])
def test_imbalance_and_tail_scores_are_those_of_the_training_data(training):
    assert tail_tables([made_record(), made_record("byol")])
    assert not tail_tables([made_record(**training)])
    own = [made_record(), made_record(split=2), balanced(), balanced(split=2)]
    assert cost_of_imbalance_tables(own)
    assert equal_size_groups(own)
    other = [replace(record, **training) for record in own]
    assert not cost_of_imbalance_tables(other)
    assert not equal_size_groups(other)


def test_networks_on_other_splits_are_not_ranked_together():
    rows = [networks(name, [50, 51, 52, 53, 54], **TRAINED_ON) for name in ("simclr", "byol", "ts", "colt")]
    rows[3] += [replace(record, split=2, run_id=f"{record.run_id}-2") for record in rows[3]]
    found = ranks([record for row in rows for record in row], "few")
    assert (found.left_out, found.blocks) == (["colt"], 5)
