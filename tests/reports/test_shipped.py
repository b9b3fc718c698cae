"""Shipped results beside a user's own: which of them are comparable, and how tables mark them."""

import csv
import re

import pytest
from msgspec.structs import replace

from commands.report import report
from commands.titles import method_title
from core.files import append_line
from reports.shipped import SHIPPED, shipped_beside, shipped_files
from reports.tables import all_tables, build_tables, summary_tables
from run_store.records import read_records
from tests.commands.test_report import make_run
from tests.reports.made import made_record

SPLITS = range(1, 6)


def ship(folder, *records):
    """Writes records as shipped ones."""
    for record in records:
        file = folder / record.dataset / f"{record.preset}.jsonl"
        file.parent.mkdir(parents=True, exist_ok=True)
        append_line(file, replace(record, run_id=f"shipped-{record.run_id}", device="far", versions={"torch": "2"}).to_line())
    return folder


def runs(method, **changes):
    return [made_record(method, split=split, **changes) for split in SPLITS]


@pytest.mark.parametrize(
    ("change", "comparable"),
    [
        ({}, True),
        ({"precision": "fp32"}, True),
        ({"device": "another"}, True),
        ({"dataset": "cifar100lt"}, False),
        ({"profile": "cao"}, False),
        ({"passport": "f" * 12}, False),
        ({"data": "other images"}, False),
        ({"preset": "paper"}, False),
        ({"recipe": {"backbone": "resnet18"}}, False),
        ({"executor": "dali"}, False),
        ({"protocol": "another"}, False),
        ({"probe": "knn"}, False),
        ({"split": 2}, False),
        ({"seed": 1}, False),
    ],
)
def test_only_comparable_results_are_added(change, comparable, tmp_path):
    own = [made_record("byol")]
    folder = ship(tmp_path, replace(made_record("simclr"), **change))
    assert bool(shipped_beside(own, folder)) == comparable


@pytest.mark.parametrize(
    ("own", "added"),
    [
        ({}, False),
        ({"hparams": {"temperature": 0.5}}, True),
        ({"probe": "knn", "protocol": "kNN"}, False),
        ({"split": 2, "passport": "2"}, False),
    ],
)
def test_own_runs_of_a_method_take_precedence(own, added, tmp_path):
    """Also under another probe or on another split of the same setting; not with other hyper-parameters."""
    folder = ship(tmp_path, made_record("sdclr"))
    mine = [made_record("byol"), replace(made_record("sdclr"), **own)]
    assert bool(shipped_beside(mine, folder)) == added


def test_results_in_the_same_precision_are_preferred(tmp_path):
    records = [replace(made_record("simclr"), precision=name, run_id=name) for name in ("fp32", "bf16", "tf32")]
    folder = ship(tmp_path, *records)
    for name in ("fp32", "bf16"):
        (found,) = shipped_beside([replace(made_record("byol"), precision=name)], folder)
        assert (found.precision, found.trained_in) == (name, name)


def test_a_missing_folder_has_no_results(tmp_path):
    assert shipped_beside([made_record("byol")], tmp_path / "missing") == []
    assert shipped_files(tmp_path / "missing") == []


@pytest.mark.parametrize("own", [True, False])
def test_the_reference_is_simclr_of_the_user_if_there_is_one(own, tmp_path):
    mine = [*runs("byol"), *(runs("simclr", hparams={"temperature": 0.7})[:3] if own else [])]
    records = [*mine, *shipped_beside(mine, ship(tmp_path, *runs("simclr")))]
    (table,) = summary_tables(build_tables(records, method_title), method_title)
    verdict = [column.key for column in table.columns].index("verdict")
    reference = [row[0].value for row in table.rows if row[verdict].value == "reference"]
    assert ["[shipped]" in row[0].value for row in table.rows] == ([False, False, True] if own else [False, True])
    assert reference == ["SimCLR (temperature=0.7)" if own else "SimCLR (temperature=0.2) [shipped]"]


def test_own_rows_come_first(tmp_path):
    mine = [*runs("tase"), *runs("sdclr")]
    records = [*mine, *shipped_beside(mine, ship(tmp_path, *runs("simclr"), *runs("byol"), *runs("sdclr", hparams={"a": 1})))]
    for table in all_tables([], method_title, tables=build_tables(records, method_title)):
        titles = [row[0].value for row in table.rows]
        assert ["[shipped]" in name for name in titles] == [False, False, True, True, True]
        assert table.name.startswith("summary-") or titles[:2] == sorted(titles[:2])


def test_every_output_marks_shipped_rows_and_names_their_origin(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "reports.shipped.shipped_beside.__defaults__",
        (ship(tmp_path / "results", *runs("simclr"), *runs("mak"), *runs("tase", true_labels=True)),),
    )
    for record in runs("sdclr"):
        make_run(tmp_path / "runs", f"cifar10lt-sdclr-split{record.split}-seed0-{record.run_id}", record)
    written = report(tmp_path / "runs", figures=False)
    assert re.search(r"SimCLR \(temperature=0.2\) \[shipped\] .* reference", written.text)
    assert "MAK" not in written.text  # a method beyond the main job
    assert "true labels" not in written.text
    assert "MAK" in report(tmp_path / "runs", figures=False, baselines=["mak"]).text
    tables = tmp_path / "runs" / "tables"
    for name in ("summary", "linear-probe"):
        for suffix in ("csv", "md", "tex"):
            text = (tables / "cifar10lt" / f"{name}.{suffix}").read_text().replace("\\_", "_")
            assert "MAK" in text
            assert "[true labels] [shipped]" in text
            assert "[shipped]" in text
            assert suffix == "csv" or "[shipped]: results in the repository." in text.replace("\\", "")
            assert suffix == "csv" or "[shipped]: trained on far (bf16, torch 2)." in text.replace("\\", "")
            assert suffix == "csv" or "CPU-scale numbers" in text
    page = (tmp_path / "runs" / "report.html").read_text()
    assert "[shipped]</span></bdi>" in page
    captions, details = (
        re.findall(rf"{start}<bdi>([^<]*)</bdi>", page) for start in ('<p class="caption" id="[^"]*">', '<p class="caption">')
    )
    assert any("[shipped]: trained on far (bf16, torch 2)." in text for text in details)
    assert any("[shipped]: results in the repository." in text for text in captions)
    assert max(map(len, captions)) <= 340  # three lines
    assert page.count("CPU-scale numbers") == page.count('<strong class="scale"')  # the label beside the title alone
    lines = list(csv.DictReader((tables / "tidy.csv").read_text().splitlines()))
    assert {(line["run"].startswith("shipped-"), line["shipped"]) for line in lines} == {(True, "yes"), (False, "no")}
    assert "shipped-" not in (tables / "results.csv").read_text()
    assert "[shipped]" not in report(tmp_path / "runs", figures=False, baselines=()).text
    assert "shipped" not in "".join(file.read_text() for file in tables.rglob("*.md"))


def test_all_shipped_records_are_valid(caplog):
    files = shipped_files()
    records = read_records(files)
    assert not caplog.messages
    assert len(records) == sum(len(file.read_text().splitlines()) for file in files)
    assert all((SHIPPED / r.dataset / f"{r.preset}.jsonl") in files for r in records)


def test_baselines_and_no_baselines_exclude_each_other(mistake, tmp_path):
    assert "exclude each other" in mistake("report", "--out", tmp_path, "--baselines", "every", "--no-baselines")
