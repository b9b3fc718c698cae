"""Files of tables: readable, distinct names, and removal of tables of earlier reports."""

import csv
import json
import re

import pytest
from msgspec.structs import replace

from reports.captions import RECONSTRUCTED, TRUE_LABELS
from reports.tables import write_tables
from reports.tables.files import file_names
from reports.tables.table import Table
from run_store.records import CurvePoint
from tests.reports.golden_records import title
from tests.reports.made import made_grid, made_record


def table(file="linear-probe", name="a", **changes):
    return Table(name, "Title", "", "", [], [], [made_record(**changes)], file=file)


def test_a_name_is_the_benchmark_and_what_the_table_shows():
    assert file_names([table(), table("summary", name="b"), Table("c", "Runs", "", "", [], [], file="missing-runs")]) == [
        "cifar10lt/linear-probe", "cifar10lt/summary", "missing-runs",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ([{}, {"profile": "ir=50"}], ["x-exp-4500-45", "x-ir50"]),
        ([{}, {"profile": "cao"}, {"preset": "paper"}], ["x-exp-4500-45-cpu", "x-exp-5000-50-cpu", "x-exp-4500-45-paper"]),
        ([{}, {"mark": "surrogate order"}], ["x", "x-surrogate-order"]),
        ([{}, {"epochs": 10}], ["x-34-epochs", "x-10-epochs"]),
        ([{}, {"dataset": "cifar100lt"}], ["x", "x"]),
        ([{"profile": "A"}, {"profile": "a"}], ["x-A-HASH", "x-a-HASH"]),  # one file where letter case is ignored
        ([{"profile": "../a"}, {"profile": "b c"}], ["x-a", "x-b-c"]),
    ],
)
def test_tables_that_would_share_a_name_get_the_settings_in_which_they_differ(changes, names):
    found = file_names([table("x", name=change.get("profile", ""), **change) for change in changes])
    assert [re.sub("-[0-9a-f]{6}$", "-HASH", name.partition("/")[2]) for name in found] == names


@pytest.mark.parametrize("field", ["executor", "protocol", "data"])
def test_a_hash_distinguishes_what_no_setting_does(field, tmp_path):
    records = [made_record(), made_record(run_id="other", **{field: "other"})]
    names = [name for name in file_names(write_tables(records, tmp_path)) if "/linear-probe" in name]
    assert len(set(names)) == 2
    assert all(len(name) == len("cifar10lt/linear-probe-0a1b2c") for name in names)


@pytest.mark.parametrize("dataset", ["../../x", "..", ".x", "/x", "a/b", "a b", "é"])
def test_no_name_leaves_the_folder_or_is_hidden(dataset, tmp_path):
    folder = tmp_path / "deep" / "tables"
    write_tables([made_record(dataset=dataset)], folder)
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert len(files) > 8
    assert all(folder in file.parents and len(file.relative_to(folder).parts) <= 2 for file in files)
    assert not [part for file in files for part in file.relative_to(folder).parts if part.startswith(".")]


def test_tables_of_earlier_reports_are_removed_and_other_files_stay(records, tmp_path):
    mine = ["notes.tex", "cifar10lt/linear-probe.tex", "cifar10lt/own.csv", "own.meta.json", "thesis/a.meta.json", "folderlt/x"]
    write_tables(records, tmp_path, title)
    earlier = "cifar10lt-sdclr-cpu-knn-0a1b2c"  # a name of earlier versions, which had no subfolders
    assert (tmp_path / "geometry.csv").exists()
    meta = (tmp_path / "cifar10lt" / "geometry.meta.json").read_text()
    for suffix in ("csv", "md", "tex"):
        (tmp_path / f"{earlier}.{suffix}").write_text("of an earlier report")
    (tmp_path / f"{earlier}.meta.json").write_text(meta)
    for name in mine:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(json.dumps({"title": "of another program"}))
    tables = write_tables([record for record in records if record.dataset == "cifar10lt" and record.probe == "knn"], tmp_path)
    expected = {f"{name}.{suffix}" for name in file_names(tables) for suffix in ("csv", "md", "tex", "meta.json")}
    expected |= {"index.md", "tidy.csv", "results.csv", *mine}
    assert {str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*") if file.is_file()} == expected


def test_an_empty_folder_of_a_benchmark_is_removed_and_a_link_is_not_followed(tmp_path):
    write_tables([made_record(dataset="a"), made_record(dataset="b")], tmp_path / "tables")
    write_tables([made_record(dataset="c")], tmp_path / "elsewhere")
    (tmp_path / "tables" / "link").symlink_to(tmp_path / "elsewhere" / "c")
    before = sorted((tmp_path / "elsewhere").rglob("*"))
    write_tables([made_record(dataset="a")], tmp_path / "tables")
    assert {path.name for path in (tmp_path / "tables").iterdir() if path.is_dir()} == {"a", "link"}
    assert sorted((tmp_path / "elsewhere").rglob("*")) == before


def test_every_csv_of_methods_notes_reconstructions_and_true_labels(tmp_path):
    grid = [
        replace(record, true_labels=record.method == "ts")
        for record in made_grid(["simclr", "byol", "tase", "ts"], 5, 1, ["ridge"])
    ]
    curve = [CurvePoint(shots=1, mean=30.0, sd=1.0, many=40.0, few=20.0)]
    write_tables([*grid, *(made_record(method, probe="fewshot-curve", curve=curve) for method in ("tase", "byol"))], tmp_path)
    found = {}
    for file in (*tmp_path.glob("*/*.csv"), tmp_path / "tidy.csv"):
        lines = list(csv.DictReader(file.read_text().splitlines()))
        if "method" in lines[0]:
            found[file.name] = lines
    assert {"summary.csv", "linear-probe.csv", "ranks-few-linear-probe.csv", "costs.csv", "tidy.csv"} <= set(found)
    notes = {"tase": RECONSTRUCTED["tase"], "ts": TRUE_LABELS}
    for name, lines in found.items():
        assert all(line["note"] == notes.get(line["method"], "") for line in lines), name
