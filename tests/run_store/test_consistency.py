"""Accuracies in a record follow from its predictions, or the record is refused."""

import json
import logging

import numpy as np
import pytest
from msgspec.structs import asdict, replace

from eval.groups import RULES, break_down, class_accuracies
from run_store.consistency import contradictions
from run_store.layout import RESULTS
from run_store.records import OtherGroups, pack, read_records
from tests.reports.made import made_record

CLASSES, DRAWS = 10, 5


def few_shot_record(**changes):
    """A record of several draws, in which the statistics of the draws differ from those of their mean."""
    stream = np.random.default_rng(0)
    counts = stream.integers(3, 40, CLASSES)
    labels = np.repeat(np.arange(CLASSES), counts)
    predicted = np.where(stream.random((DRAWS, len(labels))) < 0.6, labels, stream.integers(0, CLASSES, len(labels)))
    by_draw = np.array([class_accuracies(one, labels, CLASSES) for one in predicted])
    like = made_record()
    found = break_down(by_draw, like.group_counts)
    own, other = (vars(found.groups[rule]) for rule in ("thirds", "number"))
    return replace(
        like,
        class_accuracy=by_draw.mean(axis=0).tolist(),
        draw_means=by_draw.mean(axis=1).tolist(),
        test_counts=counts.tolist(),
        n_test=len(labels),
        correct=pack(predicted == labels),
        **{name: getattr(found, name) for name in ("mean", "class_std", "worst", "harmonic_mean")},
        **own,
        other_groups=OtherGroups(grouping=RULES["number"], **other),
        **changes,
    )


RECORDS = {"one prediction": made_record(), "several draws": few_shot_record()}
FIELDS = (
    "mean", "many", "medium", "few", "group_std", "head_tail_gap", "class_std", "worst", "harmonic_mean", "class_accuracy",
    "draw_means", "group_sizes", "test_counts", "n_test", "correct", "grouping",
    "group_counts", "class_counts", "val_class_accuracy",
)  # fmt: skip


def _changed(value):
    if isinstance(value, bytes):
        return bytes([value[0] ^ 128]) + value[1:]
    if isinstance(value, list):
        return [*value[:-1], _changed(value[-1])]
    return "other" if isinstance(value, str) else value + 1 if value is not None else 1.0


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("record", RECORDS.values(), ids=RECORDS)
def test_a_changed_field_is_refused_also_with_a_valid_checksum(tmp_path, caplog, record, name):
    value = _changed(getattr(record, name))
    if name in ("group_counts", "class_counts", "val_class_accuracy"):  # only their length is known
        value = getattr(record, name)[:-1]
    (tmp_path / RESULTS).write_text(f"{replace(record, run_id='changed', **{name: value}).to_line()}\n{record.to_line()}\n")
    with caplog.at_level(logging.WARNING):
        assert read_records([tmp_path / RESULTS]) == [record]
    assert "skipped 1 damaged or unknown line in" in caplog.text


@pytest.mark.parametrize("name", list(asdict(RECORDS["one prediction"].other_groups)))
@pytest.mark.parametrize("record", RECORDS.values(), ids=RECORDS)
def test_a_changed_value_by_the_other_grouping_is_refused(record, name):
    other = replace(record.other_groups, **{name: _changed(getattr(record.other_groups, name))})
    assert len(list(contradictions([replace(record, other_groups=other)]))) == 1


def test_many_records_are_checked_together(monkeypatch):
    monkeypatch.setattr("run_store.consistency.CHUNK", 3000)
    good = [made_record(split=split, seed=seed) for split in (1, 2) for seed in range(7)] + [few_shot_record()]
    wrong = replace(good[4], mean=good[4].mean + 1e-3)
    found = list(contradictions([*good, wrong]))
    assert [(record.mean, reason) for record, reason in found] == [(wrong.mean, "mean does not follow from the predictions")]


@pytest.mark.parametrize(
    "changes",
    [
        {"split": "1"}, {"hparams": []}, {"hparams": {"a": {}}}, {"recipe": None}, {"mean": None}, {"epochs": 2.5},
        {"unknown": 1},
        {"class_accuracy": "x"}, {"class_accuracy": [101.0] * 10}, {"test_counts": [0] * 10}, {"correct": "?"}, {"correct": 1},
        {"other_groups": {}}, {"versions": {"torch": 2}}, {"curve": [{}]}, {"group_sizes": [1, 2]}, {"kind": "other"},
    ],
)  # fmt: skip
def test_a_line_without_checksum_with_a_wrong_type_is_refused(tmp_path, changes):
    content = json.loads(made_record().to_line())
    del content["sha256"]
    (tmp_path / RESULTS).write_text(json.dumps(content | changes) + "\n")
    assert read_records([tmp_path / RESULTS]) == []


def test_text_that_is_no_unicode_is_written_unchanged(tmp_path):
    (tmp_path / RESULTS).write_text(made_record(protocol="of x\udcff.pth").to_line())
    (record,) = read_records([tmp_path / RESULTS])
    assert record.protocol == "of x?.pth"
