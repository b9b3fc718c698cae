"""Reading of records: round trip, damaged lines, repeated records."""

import dataclasses
import json
import logging

import pytest

from run_store.layout import RESULTS
from run_store.records import AccuracyRecord, read_accuracy_records
from tests.conftest import GOLDEN


@pytest.fixture(scope="module")
def records():
    return read_accuracy_records([GOLDEN / "tables" / RESULTS])


def test_damaged_and_unknown_lines_are_skipped_and_counted(records, tmp_path, caplog):
    good = records[0].to_line()
    older = json.dumps({**json.loads(good), "format": 3})
    (tmp_path / RESULTS).write_text("\n".join([good, good[: len(good) // 2], "[]", older, "", good]) + "\n")
    with caplog.at_level(logging.WARNING):
        found = read_accuracy_records([tmp_path / RESULTS])
    assert found == [records[0]]
    assert "skipped 3 damaged or unknown lines" in caplog.text
    assert "skipped 1 records of another format version" in caplog.text


def test_the_last_record_of_a_run_and_probe_is_used(records, tmp_path):
    newer = dataclasses.replace(records[0], mean=1.0)
    (tmp_path / RESULTS).write_text(records[0].to_line() + "\n" + newer.to_line() + "\n")
    assert read_accuracy_records([tmp_path / RESULTS]) == [newer]


def test_records_round_trip(records):
    content = {name: value for name, value in json.loads(records[0].to_line()).items() if name not in ("format", "kind")}
    assert AccuracyRecord(**content) == records[0]
