"""Tables of records: printed text, values, captions, and which records share a table."""

import csv
import dataclasses
import io
import json
import shutil
import subprocess

import pytest

from reports.tables import all_tables, build_tables, records_csv, tables_text, write_tables
from reports.tables.latex import latex_text
from reports.tables.states import RunState
from reports.tables.table import Cell, Column, Table
from reports.tables.text import csv_text, markdown_text, terminal_text
from reports.tables.write import WRITERS
from run_store.records import RESULTS, AccuracyRecord, GeometryRecord, accuracies, geometries, read_records
from tests.conftest import GOLDEN
from tests.reports.made import made_record

FOLDER = GOLDEN / "tables"
TITLES = {"simclr": "SimCLR", "byol": "BYOL", "odd_name": "A & B_1 100% | <i>*x*</i>"}


def title(record):
    name = TITLES[record.method]
    return name if record.hparams == {"temperature": 0.2} else f"{name} (temperature={record.hparams['temperature']})"


def state(method="byol", split=3, **changes):
    """A run of the golden setting that is not done."""
    like = made_record(method, split=split)
    names = {field.name for field in dataclasses.fields(RunState)} & {
        field.name for field in dataclasses.fields(AccuracyRecord)
    }
    given = {name: getattr(like, name) for name in names} | {"run_id": f"lost-{method}-{split}", "data": None, "title": method}
    return RunState(**(given | {"status": "failed", "reason": "CUDA ran out of memory", "probes": None} | changes))


STATES = (
    state(title="BYOL"),
    state("byol", 4, title="BYOL", status="unfinished", reason=""),
    state("colt", 1, title="COLT", status="unfinished", reason="", probes=("knn",)),
)


@pytest.fixture(scope="module")
def records():
    return read_records([FOLDER / RESULTS])


@pytest.fixture(scope="module")
def accurate(records):
    return accuracies(records)


def table_of(tables, probe, preset="cpu", profile="sdclr"):
    (table,) = [t for t in tables if (t.probe, t.first.preset, t.first.profile) == (probe, preset, profile)]
    return table


SMALL = Table(
    "small",
    "cifar10lt, test accuracy in %",
    "Mean ± std over n runs.",
    "Details of A & B.",
    [Column("Method", "method"), Column("All", "mean", "ridge", std=True), Column("Few", "few", "ridge"), Column("n", "runs")],
    [
        [Cell("SimCLR"), Cell(59.41, 0.437, bold=True), Cell(48.0), Cell(3)],
        [Cell("A & B_1 | <i>"), Cell(7.25, dagger=True), Cell(None), Cell(1)],
        [Cell("COLT"), *[Cell(None, placeholder="failed")] * 2, Cell(0)],
    ],
)


@pytest.mark.parametrize("suffix", ["csv", "md", "tex", "txt"])
def test_a_small_table_is_printed_as_the_golden_text(suffix):
    text = terminal_text(SMALL) + "\n" if suffix == "txt" else WRITERS[suffix](SMALL)
    assert text == (FOLDER / f"small.{suffix}").read_text()


def numbers(table, method):
    """The row of a method as a dictionary: value by column key, standard deviation by `<key>_sd`."""
    (row,) = [row for row in table.rows if row[0].value == method]
    pairs = list(zip(table.columns, row, strict=True))
    return {c.key: cell.value for c, cell in pairs} | {f"{c.key}_sd": cell.std for c, cell in pairs}


NAMES = {  # file names contain the hash of the setting: a changed one breaks links to the files
    "cifar10lt-balanced-cpu-knn-e6933c",
    "cifar10lt-ir10-n11165-cpu-knn-77c5ef",
    "cifar10lt-sdclr-paper-sdclr-b55262",
    "combined-cifar10lt-sdclr-cpu-sdclr-cached-70e9df",
    "published-cifar10lt-sdclr-cpu-sdclr-cached-a740e6",
    "costs-folderlt-own-surrogate-order-paper-f02e6d",
    "budget-cifar10lt-sdclr-cpu-knn-cc47a8",
    "agreement-few-cifar10lt-sdclr-cpu-70e9df",
    "tail-cifar10lt-sdclr-cpu-70e9df",
    "imbalance-cifar10lt-sdclr-cpu-knn-1134d0",
    "ratio-cifar10lt-11157-cpu-knn-1134d0",
    "geometry-cifar10lt-sdclr-cpu-985018",
    "curve-cifar10lt-sdclr-cpu-fewshot-curve-bed713",
    "missing-runs",
}
EXPECTED = {  # by start of the table's name and method
    ("cifar10lt-sdclr-cpu-knn", "SimCLR"): {
        **{"many": 60.8333, "medium": 53.3333, "few": 46.2222, "mean": 54.2, "group_std": 5.9839, "worst": 43.3333},
        **{"many_sd": 1.4649, "medium_sd": 1.453, "few_sd": 2.5892, "mean_sd": 0.6083, "group_std_sd": 1.6397},
        **{"harmonic_mean": 53.3149, "head_tail_gap": 14.6111, "class_std": 6.72, "other_many": 56.0417},
        **{"other_medium": 46.8333, "other_few": None, "splits": 3, "seeds": 1, "runs": 3},
    },
    ("cifar10lt-sdclr-paper-sdclr", "SimCLR"): {"many": 82.15, "medium": 74.1333, "few": 67.6, "mean": 75.38, "few_sd": 1.1643},
    ("combined-", "BYOL"): {
        **{"sdclr-cached_many": 65.75, "sdclr-cached_few": 49.8333, "sdclr-cached_mean": 58.6, "sdclr-cached_mean_sd": 0.5657},
        **{"sdclr-cached-1pct_many": 49.75, "sdclr-cached-1pct_few": 36.6667, "sdclr-cached-1pct_mean": 43.65, "runs": 2},
    },
    ("costs-cifar10lt-sdclr-cpu", "SimCLR"): {
        **{"images_per_second": 1265, "train_hours": 0.0833, "peak_memory_mb": 1500, "images_seen": 379610, "extra_images": 0},
        **{"probe_seconds": 6, "runs": 3},
    },
    ("budget-cifar10lt-sdclr-cpu-knn", "BYOL"): {"mean": 52.9, "few": 47.0, "relative_images": 1, "relative_time": 1.3333},
    ("agreement-all-", "knn"): {"knn": 1.0, "sdclr-cached": 0.6667, "sdclr-cached-1pct": 0.3333},
    ("tail-cifar10lt-sdclr-cpu", "SimCLR"): {"tail_auroc": 0.61, "tail_auroc_sd": 0.0173, "tail_spearman": 0.1, "runs": 3},
    ("imbalance-", "BYOL"): {"gap_mean": 9, "gap_few": 9, "runs": 1, "won_mean": -9.5, "won_few": 18.3333, "won_runs": 2},
    ("geometry-", "SimCLR"): {"alignment_few": 0.44, "uniformity_many": -2.25, "effective_rank_all": 40.0, "runs": 2},
}


def test_names_values_and_bold_of_the_golden_records(records):
    """Values to the four decimals of the CSV."""
    tables = {table.name: table for table in all_tables(records, title, STATES)}
    for (prefix, method), expected in EXPECTED.items():
        (table,) = [table for name, table in tables.items() if name.startswith(prefix)]
        found = numbers(table, method)
        assert {key: found[key] for key in expected} == pytest.approx(expected, abs=6e-5), (prefix, method)
    assert set(tables) >= NAMES
    bold = {
        row[0].value: numbers(tables["cifar10lt-sdclr-cpu-sdclr-cached-a740e6"], row[0].value)["bold"]
        for row in tables["cifar10lt-sdclr-cpu-sdclr-cached-a740e6"].rows
    }
    assert bold == {
        "BYOL": "many medium",
        TITLES["odd_name"]: "",
        "SimCLR": "many medium few mean",
        "SimCLR (temperature=0.5)": "many",
    }


def test_captions_are_short_and_complete(records):
    for table in all_tables(records, title, STATES)[:-1]:
        assert len(table.full_caption) <= 330
        assert "n runs (split" in table.caption or "n = " in table.caption
        scale = "CPU-scale numbers, not comparable with published ones."
        assert table.caption.endswith(scale) == (table.shared("preset") == "cpu")
        assert "[" not in table.caption
        assert table.details


def test_the_terminal_prints_data_set_probe_n_and_scale(accurate):
    text = tables_text(build_tables(accurate, title, STATES))
    assert "cifar10lt (profile sdclr), test accuracy in %, probe knn\n" in text
    assert "n runs (splits 1-3; seed 0). Bold: best" in text
    assert text.count("CPU-scale") == 4  # consecutive tables with the same caption share it
    assert "sha256" not in text


def test_record_csvs_have_a_column_per_field(records, accurate):
    for found, kind in ((accurate, AccuracyRecord), (geometries(records), GeometryRecord)):
        lines = list(csv.DictReader(io.StringIO(records_csv(found, kind))))
        assert list(lines[0]) == [field.name for field in dataclasses.fields(kind)]
        assert sorted(line["run_id"] for line in lines) == sorted(record.run_id for record in found)
    by_run = {(record.run_id, record.probe): record for record in accurate}
    line = next(csv.DictReader(io.StringIO(records_csv(accurate, AccuracyRecord))))
    record = by_run[line["run_id"], line["probe"]]
    assert float(line["mean"]) == record.mean
    assert json.loads(line["recipe"]) == record.recipe
    assert [float(x) for x in line["class_accuracy"].split()] == pytest.approx(record.class_accuracy, abs=0.006)


def test_metadata_of_a_table(records, tmp_path):
    tables = write_tables(records, tmp_path, title, STATES)
    (table,) = [table for table in tables if table.name.startswith("cifar10lt-sdclr-cpu-sdclr-cached-1pct")]
    meta = json.loads((tmp_path / f"{table.name}.meta.json").read_text())
    assert {key: meta[key] for key in ("dataset", "profile", "preset", "probe", "splits", "seeds", "n")} == {
        "dataset": "cifar10lt",
        "profile": "sdclr",
        "preset": "cpu",
        "probe": "sdclr-cached-1pct",
        "splits": [1, 2, 3],
        "seeds": [0],
        "n": 6,
    }
    assert (meta["title"], meta["caption"], meta["details"]) == (table.title, table.caption, table.details)
    assert meta["run_ids"] == [list(ids) for ids in table.run_ids]
    assert meta["passports"] == [f"{split}: {split:012x}" for split in (1, 2, 3)]


def test_the_main_probe_comes_first_in_each_setting(accurate):
    others = [record for record in accurate if record.probe == "knn"]
    ridge = [dataclasses.replace(record, probe="ridge", protocol="a ridge regression") for record in others]
    probes = {}
    for table in build_tables([*others, *ridge]):
        probes.setdefault(table.setting, []).append((table.probe, table.title.rpartition(", ")[2]))
    assert len(probes) > 1
    assert all(found == [("ridge", "probe linear (ridge)"), ("knn", "probe knn")] for found in probes.values())


def test_mean_and_std_are_over_runs(accurate):
    changed = [dataclasses.replace(r, mean={1: 57.0, 2: 61.0}.get(r.split, r.mean)) for r in accurate if r.split != 3]
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
    changed = dataclasses.replace(accurate[0], run_id="other", **{field: value})
    tables = build_tables([*accurate, changed], bold=False)
    assert len(tables) == len({table.name for table in tables}) == before + 1


def test_one_split_with_two_passports_is_never_averaged(accurate):
    changed = dataclasses.replace(accurate[0], run_id="other", passport="0" * 12)
    tables = [t for t in build_tables([*accurate, changed]) if t.probe == "sdclr-cached" and t.first.preset == "cpu"]
    for table in tables:
        assert not ("0" * 12 in table.table().details and accurate[0].passport in table.table().details)
    assert sum(row.runs for table in tables for row in table.rows if row.key == ("simclr", '{"temperature": 0.2}')) == 4


def test_a_second_passport_of_one_probe_separates_only_that_probe(accurate):
    """Only the probe that has both passports is split, and its tables say by which."""
    changed = [dataclasses.replace(r, passport="0" * 12) if r is accurate[0] else r for r in accurate]
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
    assert all_tables(records, title, STATES, tables)[0].name == tables[0].name


def test_other_hyper_parameters_are_never_averaged(accurate):
    table = table_of(build_tables(accurate, title), "sdclr-cached")
    assert [(row.method, row.runs) for row in table.rows][-2:] == [("SimCLR", 3), ("SimCLR (temperature=0.5)", 2)]


def test_details_list_passports_and_unofficial_splits(accurate):
    further = dataclasses.replace(accurate[0], run_id="other", split=7, official_split=False, passport="777777777777")
    table = table_of(build_tables([r for r in accurate if r.split != 3] + [further]), "sdclr-cached")
    splits = "3 splits [passport]: 1 [000000000001], 2 [000000000002], 7 (not official) [777777777777]; 1 seed: 0"
    assert splits in table.table().details
    assert "(splits 1, 2, 7; seed 0)" in table.table().caption
    assert f"Data: {accurate[0].data}." in table.table().details


def test_a_table_name_has_ratio_size_and_mark_in_safe_characters(accurate):
    changed = dataclasses.replace(accurate[0], profile="ir=12.5,n=9000", mark="surrogate-order")
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
    assert [column.group for column in table.columns[1:-1]] == ["full-shot (45,000)"] * 5 + ["1 % (450)"] * 5
    assert r"\multicolumn{5}{c}{1 \% (450)}" in latex_text(table)
    assert table.details.count("[passport]") == 1  # sentences that both probes share are not repeated


def test_every_table_is_written_in_every_format(records, tmp_path):
    tables = write_tables(records, tmp_path, title, STATES)
    names = [table.name for table in tables]
    assert len(set(names)) == len(names)
    expected = (
        {f"{name}.{suffix}" for name in names for suffix in WRITERS}
        | {f"{name}.meta.json" for name in names}
        | {"results.csv", "geometry.csv"}
    )
    assert {file.name for file in tmp_path.iterdir()} == expected


def test_external_weights_have_tables(accurate):
    unknown = dict.fromkeys(["epochs", "batch_size", "train_seconds", "images_seen", "images_per_second", "peak_memory_mb"])
    recipe = dict.fromkeys(accurate[0].recipe) | {"backbone": "resnet18"}
    foreign = dataclasses.replace(accurate[0], method="byol", preset="external", recipe=recipe, tail_auroc=None, **unknown)
    tables = all_tables([foreign, dataclasses.replace(foreign, split=2)], title)
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
