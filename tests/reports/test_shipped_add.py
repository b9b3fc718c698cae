"""Finished runs are added to the shipped records once; lines that are there stay."""

from benchmarks.add_results import add
from run_store.records import read_accuracy_records
from tests.reports.made import made_record


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
