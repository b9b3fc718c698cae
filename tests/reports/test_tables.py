"""Tables against the exact text that was checked by hand, and what they must never mix."""

import dataclasses
import json
import logging
import shutil
import subprocess

import pytest

from reports.records import RESULTS, Record, read_records
from reports.tables import build_tables, records_csv, table_csv, table_latex, table_markdown, tables_text, write_tables
from tests.conftest import GOLDEN

FOLDER = GOLDEN / "tables"
FORMS = {"csv": table_csv, "tex": table_latex, "md": table_markdown}


def title(record):
    name = {"simclr": "SimCLR", "byol": "BYOL", "odd_name": "A & B_1 100%"}[record.method]
    return name if record.hparams == {"temperature": 0.2} else f"{name} (temperature={record.hparams['temperature']})"


@pytest.fixture
def records():
    return read_records([FOLDER / RESULTS])


@pytest.mark.parametrize("form", FORMS)
def test_tables_are_the_golden_text(records, form):
    (table,) = [t for t in build_tables(records, title) if "sdclr-cached" in t.name]
    assert FORMS[form](table) == (FOLDER / f"sdclr-cached.{form}").read_text()


def test_terminal_and_tidy_forms_are_the_golden_text(records):
    assert tables_text(build_tables(records, title)) + "\n" == (FOLDER / "terminal.txt").read_text()
    assert records_csv(records) == (FOLDER / "results.csv").read_text()


def test_the_mean_and_deviation_are_over_runs(records):
    (table,) = [t for t in build_tables(records) if "sdclr-cached" in t.name]
    row = next(row for row in table.rows if row.method == "simclr")
    assert (row.splits, row.seeds, row.runs) == (2, 1, 2)
    # golden records: 57 and 61; their mean, and their sample standard deviation
    assert row.cells["mean"].mean == 59
    assert row.cells["mean"].std == pytest.approx(8**0.5)
    assert {row.method: row for row in table.rows}["byol"].cells["mean"].std is None


OTHER = {
    "dataset": "cifar100lt",
    "profile": "cao",
    "data": "the same benchmark of other images",
    "preset": "paper",
    "recipe": {"sizes": [32], "optimizer": "sgd", "lr": 0.5, "weight_decay": 1e-4},
    "precision": "fp32",
    "executor": "dali",
    "probe": "ridge",
    "protocol": "another",
}


@pytest.mark.parametrize(("field", "value"), OTHER.items())
def test_what_cannot_be_compared_is_never_in_one_table(records, field, value):
    before = len(build_tables(records))
    changed = dataclasses.replace(records[0], run_id="other", **{field: value})
    tables = build_tables([*records, changed])
    assert len(tables) == len({table.name for table in tables}) == before + 1


def test_one_split_made_in_two_ways_is_never_averaged(records):
    changed = dataclasses.replace(records[0], run_id="other", passport="0" * 12)
    tables = [table for table in build_tables([*records, changed]) if "sdclr-cached" in table.name and "1pct" not in table.name]
    for table in tables:
        assert not ("0" * 12 in table.notes and records[0].passport in table.notes)
    assert sum(row.runs for table in tables for row in table.rows if row.method == "simclr") == 4


def test_other_hyper_parameters_are_never_averaged(records):
    (table,) = [t for t in build_tables(records, title) if "sdclr-cached" in t.name]
    assert [(row.method, row.runs) for row in table.rows][-2:] == [("SimCLR", 2), ("SimCLR (temperature=0.5)", 1)]


def test_splits_share_a_table_that_names_their_passports_and_which_are_this_suites(records):
    further = dataclasses.replace(records[0], run_id="other", split=7, official_split=False, passport="777777777777")
    (table,) = [t for t in build_tables([*records, further]) if "sdclr-cached" in t.name]
    assert "(splits 1 [8fe0e10fb744], 2 [d3076c7d9edf], 7 of this suite [777777777777]; seeds 0)" in table.notes
    assert f"Data: {records[0].data}." in table.caption


def test_a_ratio_is_in_a_tables_name_without_its_sign(records):
    (table,) = build_tables([dataclasses.replace(records[0], profile="ir=12.5")])
    assert table.name.startswith("cifar10lt-ir12.5-cpu-")


def test_damaged_and_foreign_lines_are_skipped_and_counted(records, tmp_path, caplog):
    good = records[0].to_line()
    other = json.dumps({**json.loads(good), "format": 999})
    (tmp_path / RESULTS).write_text("\n".join([good, good[: len(good) // 2], "[]", other, "", good]) + "\n")
    with caplog.at_level(logging.WARNING):
        found = read_records([tmp_path / RESULTS])
    assert found == [records[0]]
    assert "skipped 4 damaged or foreign lines" in caplog.text


def test_the_last_record_of_a_run_and_probe_counts(records, tmp_path):
    newer = dataclasses.replace(records[0], mean=1.0)
    (tmp_path / RESULTS).write_text(records[0].to_line() + "\n" + newer.to_line() + "\n")
    assert read_records([tmp_path / RESULTS]) == [newer]


def test_all_forms_are_written_once_a_table(records, tmp_path):
    tables = write_tables(records, tmp_path)
    expected = {f"{table.name}.{form}" for table in tables for form in FORMS} | {"results.csv"}
    assert {file.name for file in tmp_path.iterdir()} == expected


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_latex_compiles(records, tmp_path):
    tables = "\n".join(table_latex(table) for table in build_tables(records, title))
    document = "\\documentclass{article}\\usepackage{booktabs}\\begin{document}\n" + tables + "\\end{document}\n"
    (tmp_path / "t.tex").write_text(document)
    finished = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"], cwd=tmp_path, capture_output=True, text=True
    )
    assert finished.returncode == 0, finished.stdout[-2000:]


def test_records_round_trip(records):
    assert Record(**json.loads(records[0].to_line())) == records[0]
