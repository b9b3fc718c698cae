"""The tables of docs/findings.md are those of the shipped records."""

from benchmarks.findings import tables
from run_store.records import read_accuracy_records
from tests.conftest import ROOT


def test_the_tables_of_the_document_are_up_to_date():
    shipped = [ROOT / "results" / benchmark / "cpu.jsonl" for benchmark in ("cifar10lt", "cifar100lt")]
    repeated = ROOT / "benchmarks" / "repeated" / "cifar10lt-cpu.jsonl"
    document = (ROOT / "docs" / "findings.md").read_text()
    for table in tables(read_accuracy_records(shipped), read_accuracy_records([repeated])):
        assert table in document
