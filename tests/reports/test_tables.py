"""All printed forms against the exact text that was checked by hand, and what a table must never mix or drop."""

import dataclasses
import shutil
import subprocess

import pytest

from reports.tables import all_tables, build_tables, records_csv, tables_text, write_tables
from reports.tables.formats import FORMS, latex_text, markdown_text
from reports.tables.states import RunState
from run_store.layout import RESULTS
from run_store.records import AccuracyRecord, GeometryRecord, accuracies, geometries, read_records
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


def together(tables, suffix):
    """All tables in one text, each under its name."""
    sign = "%" if suffix == "tex" else "#"
    return "\n".join(f"{sign} {table.name}\n\n{FORMS[suffix](table)}" for table in tables)


@pytest.fixture(scope="module")
def records():
    return read_records([FOLDER / RESULTS])


@pytest.fixture(scope="module")
def accurate(records):
    return accuracies(records)


def table_of(tables, probe, preset="cpu", profile="sdclr"):
    (table,) = [t for t in tables if (t.probe, t.first.preset, t.first.profile) == (probe, preset, profile)]
    return table


@pytest.mark.parametrize("suffix", FORMS)
def test_all_tables_are_the_golden_text(records, suffix):
    assert together(all_tables(records, title, STATES), suffix) == (FOLDER / f"all.{suffix}").read_text()


def test_terminal_and_tidy_forms_are_the_golden_text(records, accurate):
    assert tables_text(build_tables(accurate, title, STATES)) + "\n" == (FOLDER / "terminal.txt").read_text()
    assert records_csv(accurate, AccuracyRecord) == (FOLDER / "results.csv").read_text()
    assert records_csv(geometries(records), GeometryRecord) == (FOLDER / "geometry.csv").read_text()


def test_the_table_of_the_leading_probe_comes_first_in_each_setting(accurate):
    others = [record for record in accurate if record.probe == "knn"]
    ridge = [dataclasses.replace(record, probe="ridge", protocol="a ridge regression") for record in others]
    probes = {}
    for table in build_tables([*others, *ridge]):
        probes.setdefault(table.setting, []).append((table.probe, table.title.rpartition(", ")[2]))
    assert len(probes) > 1
    assert all(found == [("ridge", "probe linear (ridge)"), ("knn", "probe knn")] for found in probes.values())


def test_the_mean_and_deviation_are_over_runs(accurate):
    changed = [dataclasses.replace(r, mean={1: 57.0, 2: 61.0}.get(r.split, r.mean)) for r in accurate if r.split != 3]
    rows = {row.key: row for row in table_of(build_tables(changed), "sdclr-cached").rows}
    row = rows["simclr", '{"temperature": 0.2}']
    assert (row.splits, row.seeds, row.runs) == (2, 1, 2)
    assert row.cells["mean"].mean == 59
    assert row.cells["mean"].std == pytest.approx(8**0.5)
    assert rows["odd_name", '{"temperature": 0.2}'].cells["mean"].std is None


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
def test_what_cannot_be_compared_is_never_in_one_table(accurate, field, value):
    before = len(build_tables(accurate, bold=False))
    changed = dataclasses.replace(accurate[0], run_id="other", **{field: value})
    tables = build_tables([*accurate, changed], bold=False)
    assert len(tables) == len({table.name for table in tables}) == before + 1


def test_one_split_made_in_two_ways_is_never_averaged(accurate):
    changed = dataclasses.replace(accurate[0], run_id="other", passport="0" * 12)
    tables = [t for t in build_tables([*accurate, changed]) if t.probe == "sdclr-cached" and t.first.preset == "cpu"]
    for table in tables:
        assert not ("0" * 12 in table.notes and accurate[0].passport in table.notes)
    assert sum(row.runs for table in tables for row in table.rows if row.key == ("simclr", '{"temperature": 0.2}')) == 4


def test_one_probe_of_another_passport_splits_no_other_probe(accurate):
    """Only the probe that has both passports is split, and its tables say by which."""
    changed = [dataclasses.replace(r, passport="0" * 12) if r is accurate[0] else r for r in accurate]
    (probe, preset) = accurate[0].probe, accurate[0].preset
    before, after = ([(t.probe, t.first.preset) for t in build_tables(of, bold=False)] for of in (accurate, changed))
    assert [place for place in after if place != (probe, preset)] == [place for place in before if place != (probe, preset)]
    titles = [t.title for t in build_tables(changed, bold=False) if (t.probe, t.first.preset) == (probe, preset)]
    assert len(set(titles)) == len(titles) == 3
    assert sum(f"split 1 made as [{'0' * 12}]" in title for title in titles) == 1


def test_ids_of_the_runs_stand_beside_each_row(records):
    tables = all_tables(records, title, STATES)
    known = {record.run_id for record in records} | {state.run_id for state in STATES}
    for table in tables:
        assert len(table.runs) == (0 if table.name.startswith("agreement") else len(table.rows))
        assert all(ids and len(set(ids)) == len(ids) and known.issuperset(ids) for ids in table.runs)
    counted = [(table, [c.key for c in table.columns].index("runs")) for table in tables if table.name.startswith("costs-")]
    assert all(len(ids) == row[n].value for table, n in counted for row, ids in zip(table.rows, table.runs, strict=True))


def test_tables_that_are_there_are_not_built_again(records, monkeypatch):
    tables = build_tables(records, title, STATES)
    monkeypatch.setattr("reports.tables.write.build_tables", lambda *_: pytest.fail("built again"))
    assert all_tables(records, title, STATES, tables)[0].name == tables[0].name


def test_other_hyper_parameters_are_never_averaged(accurate):
    table = table_of(build_tables(accurate, title), "sdclr-cached")
    assert [(row.method, row.runs) for row in table.rows][-2:] == [("SimCLR", 3), ("SimCLR (temperature=0.5)", 2)]


def test_splits_share_a_table_that_names_their_passports_and_which_are_this_suites(accurate):
    further = dataclasses.replace(accurate[0], run_id="other", split=7, official_split=False, passport="777777777777")
    table = table_of(build_tables([r for r in accurate if r.split != 3] + [further]), "sdclr-cached")
    splits = "3 splits: 1 [000000000001], 2 [000000000002], 7 of this suite [777777777777]; 1 seed: 0"
    assert splits in table.notes
    assert f"Data: {accurate[0].data}." in table.caption


def test_a_name_tells_ratio_size_and_mark_in_signs_that_files_and_labels_can_have(accurate):
    changed = dataclasses.replace(accurate[0], profile="ir=12.5,n=9000", mark="surrogate-order")
    (table,) = build_tables([changed])
    assert table.name.startswith("cifar10lt-ir12.5-n9000-surrogate-order-cpu-sdclr-cached-")


def test_an_empty_group_is_said_to_be_empty_and_never_a_number(records):
    (table,) = [s for s in all_tables(records, title) if s.name.startswith("folderlt-own-surrogate-order-paper-ridge-")]
    assert "empty" in markdown_text(table).splitlines()[2]
    assert "& empty &" in latex_text(table)
    assert "A group without classes is empty." in table.caption
    heads, numbers = (line.split(",") for line in FORMS["csv"](table).splitlines())
    row = dict(zip(heads, numbers, strict=False))
    assert (row["few"], row["few_sd"], row["group_std"], row["head_tail_gap"]) == ("", "", "", "")
    assert "nan" not in "".join(numbers)


def test_a_row_with_some_runs_missing_is_marked_and_the_footer_says_which(accurate):
    table = table_of(build_tables(accurate, title, STATES), "sdclr-cached")
    (row,) = [line for line in markdown_text(table.table()).splitlines() if line.startswith("| BYOL")]
    assert row.count("†") == 5
    expected = "BYOL: 2 of 4 runs: split 3 seed 0 failed (CUDA ran out of memory), split 4 seed 0 unfinished."
    assert expected in table.caption
    assert r"$^\dagger$" in latex_text(table.table())


def test_a_footer_names_the_first_missing_runs_and_counts_the_rest(accurate):
    lost = [state("byol", split, title="BYOL", status="unfinished", reason="") for split in range(3, 43)]
    (row,) = [row for row in table_of(build_tables(accurate, title, lost), "knn").table().rows if row[0].value == "BYOL"]
    assert "split 42 seed 0 unfinished" in row[-1].value  # the CSV has all
    assert "split 7 seed 0 unfinished and 35 more." in table_of(build_tables(accurate, title, lost), "knn").caption


def test_a_method_without_any_run_is_shown_as_failed_or_unfinished(accurate):
    tables = build_tables(
        accurate, title, [*STATES, state("ts", 1, title="TS"), state("ts", 2, title="TS", status="unfinished")]
    )
    knn = {row.method: row for row in table_of(tables, "knn").rows}
    assert (knn["COLT"].words, knn["COLT"].runs) == ("unfinished", 0)
    assert knn["TS"].words == "failed"
    # probes that nobody asked for miss nothing
    assert "COLT" not in {row.method for row in table_of(tables, "sdclr-cached").rows}
    assert "failed" in markdown_text(table_of(tables, "knn").table())


def test_a_run_whose_probe_is_recorded_is_not_missed_there(accurate):
    half = dataclasses.replace(STATES[0], run_id="byol-1", split=1)
    rows = {row.key[0]: row for row in table_of(build_tables(accurate, title, [half]), "knn").rows}
    assert rows["byol"].missing == ()


@pytest.mark.parametrize("change", [{"preset": "paper"}, {"profile": "cao"}, {"data": "other"}, {"recipe": {"epochs": 1}}])
def test_a_run_is_missed_only_where_it_would_be_compared(accurate, change):
    elsewhere = dataclasses.replace(STATES[0], **change)
    table = table_of(build_tables(accurate, title, [elsewhere]), "sdclr-cached")
    assert all(row.missing == () for row in table.rows)


def test_runs_that_fit_no_table_are_listed_all_the_same(tmp_path):
    (table,) = all_tables([], title, [state(dataset="nowhere")])
    assert "nowhere" in markdown_text(table)
    assert "CUDA ran out of memory" in FORMS["csv"](table)


def test_probes_of_a_family_stand_side_by_side(records):
    (table,) = [s for s in all_tables(records, title, STATES) if s.name.startswith("combined-")]
    assert [column.group for column in table.columns[1:-1]] == ["full-shot (45,000)"] * 5 + ["1 % (450)"] * 5
    assert r"\multicolumn{5}{c}{1 \% (450)}" in latex_text(table)
    # what is the same of both probes is said once
    assert table.caption.count("In brackets") == 1


def test_every_form_of_every_table_is_written_under_its_name(records, tmp_path):
    tables = write_tables(records, tmp_path, title, STATES)
    names = [table.name for table in tables]
    assert len(set(names)) == len(names)
    expected = {f"{name}.{suffix}" for name in names for suffix in FORMS} | {"results.csv", "geometry.csv"}
    assert {file.name for file in tmp_path.iterdir()} == expected


def test_weights_from_elsewhere_have_tables_too(accurate):
    unknown = dict.fromkeys(["epochs", "batch_size", "train_seconds", "images_seen", "images_per_second", "peak_memory_mb"])
    recipe = dict.fromkeys(accurate[0].recipe) | {"backbone": "resnet18"}
    foreign = dataclasses.replace(accurate[0], method="byol", preset="external", recipe=recipe, tail_auroc=None, **unknown)
    tables = all_tables([foreign, dataclasses.replace(foreign, split=2)], title)
    assert any("how they were trained is not on record" in table.caption for table in tables)


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
