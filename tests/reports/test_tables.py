"""Tables of records: which records share a table, missing runs, bold, files."""

import csv
import dataclasses
import shutil
import subprocess

import pytest
from msgspec.structs import asdict, replace

from reports.shipped_record import ShippedRecord
from reports.tables import all_tables, build_tables, tables_text, write_tables
from reports.tables.files import file_names
from reports.tables.latex import latex_text
from reports.tables.text import csv_text, markdown_text
from reports.tables.write import WRITERS
from tests.reports.golden_records import STATES, state, title
from tests.reports.made import made_record


def table_of(tables, probe, preset="cpu", profile="sdclr"):
    (table,) = [t for t in tables if (t.probe, t.first.preset, t.first.profile) == (probe, preset, profile)]
    return table


def test_the_main_probe_comes_first_in_each_setting(accurate):
    others = [record for record in accurate if record.probe == "knn"]
    ridge = [replace(record, probe="ridge", protocol="a ridge regression") for record in others]
    probes = {}
    for table in build_tables([*others, *ridge]):
        probes.setdefault(table.setting, []).append((table.probe, table.title.rpartition(", ")[2]))
    assert len(probes) > 1
    assert all(found == [("ridge", "probe linear (ridge)"), ("knn", "probe knn")] for found in probes.values())


def test_mean_and_std_are_over_runs(accurate):
    changed = [replace(r, mean={1: 57.0, 2: 61.0}.get(r.split, r.mean)) for r in accurate if r.split != 3]
    rows = {row.key: row for row in table_of(build_tables(changed), "sdclr-cached").rows}
    row = rows["simclr", '{"temperature": 0.2}']
    assert (row.splits, row.seeds, row.runs) == (2, 1, 2)
    assert row.values["mean"].mean == 59
    assert row.values["mean"].std == pytest.approx(8**0.5)
    assert rows["odd_name", '{"temperature": 0.2}'].values["mean"].std is None


OTHER = {
    "dataset": "cifar100lt",
    "profile": "cao",
    "data": "the same benchmark of other images",
    "preset": "paper",
    "recipe": {"sizes": [32], "optimizer": "sgd", "lr": 0.5, "weight_decay": 1e-4},
    "precision": "fp32",
    "executor": "dali",
    "probe": "bcl",
    "protocol": "another",
}


@pytest.mark.parametrize(("field", "value"), OTHER.items())
def test_records_that_are_not_comparable_are_in_separate_tables(accurate, field, value):
    before = len(build_tables(accurate, bold=False))
    changed = replace(accurate[0], run_id="other", **{field: value})
    tables = build_tables([*accurate, changed], bold=False)
    assert len(tables) == len({table.name for table in tables}) == before + 1


def test_one_split_with_two_passports_is_never_averaged(accurate):
    changed = replace(accurate[0], run_id="other", passport="0" * 12)
    tables = [t for t in build_tables([*accurate, changed]) if t.probe == "sdclr-cached" and t.first.preset == "cpu"]
    for table in tables:
        assert not ("0" * 12 in table.table().details and accurate[0].passport in table.table().details)
    assert sum(row.runs for table in tables for row in table.rows if row.key == ("simclr", '{"temperature": 0.2}')) == 4


def test_a_second_passport_of_one_probe_separates_only_that_probe(accurate):
    """Only the probe that has both passports is split, and its tables say by which."""
    changed = [replace(r, passport="0" * 12) if r is accurate[0] else r for r in accurate]
    (probe, preset) = accurate[0].probe, accurate[0].preset
    before, after = ([(t.probe, t.first.preset) for t in build_tables(of, bold=False)] for of in (accurate, changed))
    assert [place for place in after if place != (probe, preset)] == [place for place in before if place != (probe, preset)]
    titles = [t.title for t in build_tables(changed, bold=False) if (t.probe, t.first.preset) == (probe, preset)]
    assert len(set(titles)) == len(titles) == 3
    assert sum(f"split 1 [{'0' * 12}]" in title for title in titles) == 1


def test_every_row_has_its_run_ids(records):
    tables = all_tables(records, title, STATES)
    known = {record.run_id for record in records} | {state.run_id for state in STATES}
    for table in tables:
        assert len(table.run_ids) == (0 if table.name.startswith("agreement") else len(table.rows))
        assert all(ids and len(set(ids)) == len(ids) and known.issuperset(ids) for ids in table.run_ids)
    counted = [(table, [c.key for c in table.columns].index("runs")) for table in tables if table.name.startswith("costs-")]
    assert all(len(ids) == row[n].value for table, n in counted for row, ids in zip(table.rows, table.run_ids, strict=True))


def test_given_accuracy_tables_are_not_built_again(records, monkeypatch):
    tables = build_tables(records, title, STATES)
    monkeypatch.setattr("reports.tables.write.build_tables", lambda *_: pytest.fail("built again"))
    assert tables[0].name in [table.name for table in all_tables(records, title, STATES, tables)]


def test_other_hyper_parameters_are_never_averaged(accurate):
    table = table_of(build_tables(accurate, title), "sdclr-cached")
    assert [(row.method, row.runs) for row in table.rows][-2:] == [("SimCLR", 3), ("SimCLR (temperature=0.5)", 2)]


def test_details_list_passports_and_unofficial_splits(accurate):
    further = replace(accurate[0], run_id="other", split=7, official_split=False, passport="777777777777")
    table = table_of(build_tables([r for r in accurate if r.split != 3] + [further]), "sdclr-cached")
    splits = "3 splits [passport]: 1 [000000000001], 2 [000000000002], 7 (not official) [777777777777]; 1 seed: 0"
    assert splits in table.table().details
    assert "(splits 1, 2, 7; seed 0)" in table.table().caption
    data = accurate[0].data.replace("cifar10lt (profile sdclr)", "cifar10lt (variant exp-4500-45)")
    assert f"Data: {data}." in table.table().details


def test_a_table_name_has_ratio_size_and_mark_in_safe_characters(accurate):
    changed = replace(accurate[0], profile="ir=12.5,n=9000", mark="surrogate-order")
    (table,) = build_tables([changed])
    assert table.name.startswith("cifar10lt-ir12.5-n9000-surrogate-order-cpu-sdclr-cached-")


def test_an_empty_group_has_no_number(records):
    (table,) = [s for s in all_tables(records, title) if s.name.startswith("folderlt-own-surrogate-order-paper-ridge-")]
    assert "empty" in markdown_text(table).splitlines()[2]
    assert "& empty &" in latex_text(table)
    assert "A group without classes is empty." in table.details
    heads, numbers = (line.split(",") for line in csv_text(table).splitlines())
    row = dict(zip(heads, numbers, strict=False))
    assert (row["few"], row["few_sd"], row["group_std"], row["head_tail_gap"]) == ("", "", "", "")
    assert "nan" not in "".join(numbers)


def test_a_row_with_missing_runs_is_marked_and_the_details_list_them(accurate):
    table = table_of(build_tables(accurate, title, STATES), "sdclr-cached")
    (row,) = [line for line in markdown_text(table.table()).splitlines() if line.startswith("| BYOL")]
    assert row.count("†") == 5
    expected = "BYOL: 2 of 4 runs: split 3 seed 0 failed (CUDA ran out of memory), split 4 seed 0 unfinished."
    assert expected in table.table().details
    assert r"$^\dagger$" in latex_text(table.table())


def test_details_list_the_first_missing_runs_and_count_the_rest(accurate):
    lost = [state("byol", split, title="BYOL", status="unfinished", reason="") for split in range(3, 43)]
    (row,) = [row for row in table_of(build_tables(accurate, title, lost), "knn").table().rows if row[0].value == "BYOL"]
    assert "split 42 seed 0 unfinished" in row[-1].value  # the CSV has all
    assert "split 7 seed 0 unfinished and 35 more." in table_of(build_tables(accurate, title, lost), "knn").table().details


def test_a_method_without_any_run_is_shown_as_failed_or_unfinished(accurate):
    tables = build_tables(
        accurate, title, [*STATES, state("ts", 1, title="TS"), state("ts", 2, title="TS", status="unfinished")]
    )
    knn = {row.method: row for row in table_of(tables, "knn").rows}
    assert (knn["COLT"].placeholder, knn["COLT"].runs) == ("unfinished", 0)
    assert knn["TS"].placeholder == "failed"
    # probes that nobody asked for miss nothing
    assert "COLT" not in {row.method for row in table_of(tables, "sdclr-cached").rows}
    assert "failed" in markdown_text(table_of(tables, "knn").table())


def test_a_run_with_a_record_of_the_probe_is_not_missing(accurate):
    half = dataclasses.replace(STATES[0], run_id="byol-1", split=1)
    rows = {row.key[0]: row for row in table_of(build_tables(accurate, title, [half]), "knn").rows}
    assert rows["byol"].missing == ()


@pytest.mark.parametrize("change", [{"preset": "paper"}, {"profile": "cao"}, {"data": "other"}, {"recipe": {"epochs": 1}}])
def test_a_run_is_missing_only_in_tables_of_its_setting(accurate, change):
    elsewhere = dataclasses.replace(STATES[0], **change)
    table = table_of(build_tables(accurate, title, [elsewhere]), "sdclr-cached")
    assert all(row.missing == () for row in table.rows)


def test_runs_without_a_table_are_listed(tmp_path):
    (table,) = all_tables([], title, [state(dataset="nowhere")])
    assert "nowhere" in markdown_text(table)
    assert "CUDA ran out of memory" in csv_text(table)


def test_probes_of_a_family_stand_side_by_side(records):
    (table,) = [s for s in all_tables(records, title, STATES) if s.name.startswith("combined-")]
    assert [column.group for column in table.columns[2:-1]] == ["full-shot (45,000)"] * 5 + ["1 % (450)"] * 5
    assert r"\multicolumn{5}{c}{1 \% (450)}" in latex_text(table)
    assert table.details.count("[passport]") == 1  # sentences that both probes share are not repeated


def test_every_table_is_written_in_every_format(records, tmp_path):
    tables = write_tables(records, tmp_path, title, STATES)
    names = file_names(tables)
    assert len(set(names)) == len(names)
    expected = (
        {f"{name}.{suffix}" for name in names for suffix in WRITERS}
        | {f"{name}.meta.json" for name in names}
        | {"index.md", "tidy.csv", "results.csv", "geometry.csv"}
    )
    assert {str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*") if file.is_file()} == expected


def test_external_weights_have_tables(accurate):
    unknown = dict.fromkeys(["epochs", "batch_size", "train_seconds", "images_seen", "images_per_second", "peak_memory_mb"])
    recipe = dict.fromkeys(accurate[0].recipe) | {"backbone": "resnet18"}
    foreign = replace(accurate[0], method="byol", preset="external", recipe=recipe, tail_auroc=None, **unknown)
    tables = all_tables([foreign, replace(foreign, split=2)], title)
    assert any("training settings unknown" in table.details for table in tables)


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_latex_compiles(records, tmp_path):
    # a page a table: with more floats than a page takes, LaTeX gives up
    tables = "\n\\clearpage\n".join(latex_text(table) for table in all_tables(records, title, STATES))
    document = "\\documentclass{article}\\usepackage{booktabs}\\begin{document}\n" + tables + "\\end{document}\n"
    (tmp_path / "t.tex").write_text(document)
    finished = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"], cwd=tmp_path, capture_output=True, text=True
    )
    assert finished.returncode == 0, finished.stdout[-2000:]


def test_every_table_has_the_warnings_of_its_runs(accurate):
    """Each warning once, at most five, in every format; records of one run share it."""
    changed = [replace(r, warnings=[f"collapsed & <{r.split}>"]) if r.method == "byol" else r for r in accurate]
    tables = [table for table in all_tables(changed, title) if table.records]
    assert len(tables) > 5
    for table in tables:
        expected = {f"byol split {r.split} seed {r.seed}: collapsed & <{r.split}>" for r in table.records if r.method == "byol"}
        assert set(table.warnings) == expected
        assert len(table.warnings) == len(expected)
        assert markdown_text(table).count("Warning: byol") == len(expected)
        assert latex_text(table).count(r"\par\footnotesize Warning: byol") == len(expected)
        assert latex_text(table).count(r"collapsed \& \textless{}") == len(expected)
        assert table.metadata()["warnings"] == table.warnings
    text = tables_text(table.table() for table in build_tables(changed, title))
    assert 0 < text.count("Warning: byol") < len(tables)


def test_many_warnings_are_shortened(accurate):
    changed = [replace(accurate[0], seed=seed, run_id=str(seed), warnings=["collapsed"]) for seed in range(8)]
    (table,) = build_tables(changed)
    assert len(table.table().warnings) == 6
    assert table.table().warnings[-1] == "3 more warnings are in results.csv"


def test_the_tidy_csv_has_a_line_per_run_and_probe(records, accurate, tmp_path):
    write_tables(records, tmp_path, title, STATES)
    lines = list(csv.DictReader((tmp_path / "tidy.csv").read_text().splitlines()))
    assert sorted((line["run"], line["probe"]) for line in lines) == sorted((r.run_id, r.probe) for r in accurate)
    line = next(line for line in lines if line["run"] == accurate[0].run_id and line["probe"] == accurate[0].probe)
    assert float(line["few"]) == pytest.approx(accurate[0].few, abs=1e-4)
    assert line["method"] == title(accurate[0])
    index = (tmp_path / "index.md").read_text()
    assert all(f"({file.relative_to(tmp_path)})" in index for file in tmp_path.rglob("*.tex"))


def test_reconstructions_and_true_labels_are_named_in_every_output(accurate):
    changed = [replace(r, method="tase", true_labels=True) if r.method == "byol" else r for r in accurate]
    tables = [table for table in all_tables(changed) if any(r.method == "tase" for r in table.records)]
    assert len(tables) > 3
    for table in tables:
        assert "TASE-R is a reconstruction" in table.caption
        assert "an ablation that uses the labels" in table.caption


@pytest.mark.parametrize("run_id", ["simclr-1", "that-of-another-precision"])
def test_a_missing_run_is_not_part_of_the_shipped_row_of_its_method(run_id):
    own = [made_record("byol", split=split, probe=probe) for split in (1, 2) for probe in ("ridge", "ridge-1pct")]
    shipped = [
        ShippedRecord(**asdict(made_record(split=split, probe=probe)) | {"run_id": f"simclr-{split}"}, trained_in="bf16")
        for split in (1, 2)
        for probe in ("ridge", "ridge-1pct")
    ]
    tables = build_tables([*own, *shipped], title, [state("simclr", 1, title="SimCLR", run_id=run_id)])
    for table in tables:
        found = [(row.method, row.shipped, row.runs, row.placeholder, len(row.missing)) for row in table.rows]
        assert found[1:] == [("SimCLR", False, 0, "failed", 1), ("SimCLR", True, 2, None, 0)]
    (combined,) = [table for table in all_tables(own, title, tables=tables) if table.name.startswith("combined")]
    assert [(row[0].value, row[-1].value) for row in combined.rows] == [("BYOL", 2), ("SimCLR", 0), ("SimCLR", 2)]
