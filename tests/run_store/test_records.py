"""Reading of records: round trip, damaged lines, repeated records."""

import json
import logging
import random

import pytest
from msgspec.structs import replace

from core.schema import convert
from run_store.layout import RESULTS
from run_store.records import AccuracyRecord, read_accuracy_records
from tests.conftest import GOLDEN


@pytest.fixture(scope="module")
def records():
    return read_accuracy_records([GOLDEN / "tables" / RESULTS])


def test_damaged_and_unknown_lines_are_skipped_and_counted(records, tmp_path, caplog):
    good = records[0].to_line()
    older = json.dumps({name: value for name, value in json.loads(good).items() if name != "sha256"} | {"format": 3})
    (tmp_path / RESULTS).write_text("\n".join([good, good[: len(good) // 2], "[]", older, "", good]) + "\n")
    with caplog.at_level(logging.WARNING):
        found = read_accuracy_records([tmp_path / RESULTS])
    assert found == [records[0]]
    assert "skipped 3 damaged or unknown lines" in caplog.text
    assert "skipped 1 record of another format version" in caplog.text


def test_the_last_record_of_a_run_and_probe_is_used(records, tmp_path):
    newer = replace(records[0], chosen="strength 7")
    (tmp_path / RESULTS).write_text(records[0].to_line() + "\n" + newer.to_line() + "\n")
    assert read_accuracy_records([tmp_path / RESULTS]) == [newer]


def test_records_round_trip(records):
    line = json.loads(records[0].to_line())
    del line["sha256"]
    assert convert(line, AccuracyRecord) == records[0]


def test_every_changed_character_of_a_record_is_noticed(records, tmp_path):
    """A digit of an accuracy, a quote, a key: no changed line is read as a record with other values."""
    line = records[0].to_line()
    stream = random.Random(0)
    for place in [line.index('"mean": ') + 8, *(stream.randrange(len(line)) for _ in range(300))]:
        other = stream.choice([c for c in '0123456789abc"{}, :' if c != line[place]])
        (tmp_path / RESULTS).write_text(line[:place] + other + line[place + 1 :] + "\n")
        assert read_accuracy_records([tmp_path / RESULTS]) in ([], [records[0]])


def test_records_of_earlier_versions_have_no_checksum(records, tmp_path):
    content = json.loads(records[0].to_line())
    del content["sha256"]
    (tmp_path / RESULTS).write_text(json.dumps(content) + "\n")
    assert read_accuracy_records([tmp_path / RESULTS]) == [records[0]]
