"""Finished runs are added to the shipped records once; lines that are there stay."""

import pytest

from benchmarks.add_results import add, main
from core.errors import UserError
from probing.probe_path import probe_path
from run_store.records import read_accuracy_records
from tests.reports.made import made_record
from tests.trained_run import trained_run


def test_only_new_runs_are_added_and_shipped_lines_stay(tmp_path):
    file = tmp_path / "cifar10lt" / "cpu.jsonl"
    first = [made_record("simclr", split=1, probe=probe) for probe in ("knn", "ridge")]
    assert add(file, first) == 1
    shipped = file.read_bytes()
    assert add(file, first) == 0
    second = made_record("simclr", split=2)
    assert add(file, [made_record("simclr", split=1, probe="ridge", level=99), second, second]) == 1
    assert file.read_bytes().startswith(shipped)
    assert read_accuracy_records([file]) == [*first, second]


def test_a_file_with_a_damaged_line_is_left_as_it_is(tmp_path):
    file = tmp_path / "cpu.jsonl"
    add(file, [made_record("simclr", split=1)])
    file.write_text(file.read_text().replace('"split": 1', '"split": 3'))
    before = file.read_bytes()
    with pytest.raises(UserError, match=r"cpu\.jsonl, record 1: wrong checksum"):
        add(file, [made_record("simclr", split=2)])
    assert file.read_bytes() == before


def test_only_finished_runs_are_added(tmp_path):
    run = trained_run(tmp_path / "runs")
    trained_run(tmp_path / "runs", "byol")
    probe_path(run.path, probes=["knn"], device="cpu")
    main([tmp_path / "runs"], to=tmp_path / "results")
    (file,) = (tmp_path / "results").rglob("*.jsonl")
    assert file == tmp_path / "results" / "digitslt" / "smoke.jsonl"
    assert [record.run_id for record in read_accuracy_records([file])] == [run.config.run_id]
