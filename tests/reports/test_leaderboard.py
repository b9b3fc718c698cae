"""The leaderboard: up to date with `results/`, sorted, with submissions as rows of their own."""

import csv
import io
import re
from itertools import product

import pytest
from msgspec import Raw
from msgspec.structs import replace

from commands.leaderboard import FILE, current_leaderboard, write_leaderboard_page
from commands.titles import method_group, method_title
from core.errors import UserError
from methods import METHODS
from reports.leaderboard import leaderboard_text, left_out
from reports.shipped import shipped_files, submitted
from reports.tables.write import records_csv
from run_store.records import AccuracyRecord, accuracies, read_records
from run_store.submission import Submission, read_submission, write_submission
from tests.conftest import ROOT
from tests.reports.made import made_record

SPLITS = range(1, 6)


def runs(method, level, **changes):
    return [made_record(method, split=split, level=level, **changes) for split in SPLITS]


def submit(folder, name, records):
    """Writes a submission."""
    file = folder / "cifar10lt" / "submissions" / f"{name}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = [Raw(record.to_line().encode()) for record in records]
    write_submission(file, Submission(name=name, date="2026-01-01", sources={}, versions={}, configs=[{}], records=lines))
    return file


def rows(text):
    """Cells of the rows below the head of each table."""
    lines = [cells(line) for line in text.splitlines() if line.startswith("| ")]
    return [line for line in lines if line[0] != "Method"]


def cells(line):
    """Cells of a row of a Markdown table."""
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_committed_leaderboard_is_up_to_date():
    assert FILE.read_text() == current_leaderboard(), "run `python bench.py leaderboard`"


def test_the_table_of_the_readme_is_that_of_the_leaderboard():
    left_out = ("Group", "Device")
    head, *board = (line for line in FILE.read_text().splitlines() if line.startswith("| "))
    kept = [place for place, name in enumerate(cells(head)) if name not in left_out]
    expected = [[cells(line)[place] for place in kept] for line in board]
    shown = [cells(line) for line in (ROOT / "README.md").read_text().splitlines() if line.startswith("| ")]
    assert shown[0] == [cells(head)[place] for place in kept]
    assert len(shown) == 1 + len(METHODS.select(["all"]))
    assert [row for row in expected if row in shown[1:]] == shown[1:]


def test_rows_are_sorted_by_the_few_group():
    text = leaderboard_text([*runs("byol", 50), *runs("simclr", 60), *runs("sdclr", 70), *runs("simclr", 90, preset="smoke")])
    found = [float(row[2].split()[0]) for row in rows(text)]
    assert [row[0] for row in rows(text)] == ["sdclr", "simclr", "byol"]
    assert found == sorted(found, reverse=True)
    assert text.count("## ") == 1  # the smoke preset is left out
    assert "CPU-scale numbers" in text


def test_there_is_a_table_for_each_setting_of_the_main_probe():
    settings = product(("cpu", "paper"), ("knn", "ridge"))
    text = leaderboard_text(r for preset, probe in settings for r in runs("simclr", 60, probe=probe, preset=preset))
    assert re.findall("^## (.*)", text, re.MULTILINE) == [
        "cifar10lt (variant exp-4500-45), preset cpu, 34 epochs",
        "cifar10lt (variant exp-4500-45), preset paper, 34 epochs",
    ]


def test_reconstructions_and_true_labels_are_marked():
    text = leaderboard_text([*runs("tase", 60), *runs("sdclr", 60, true_labels=True)], method_title, method_group)
    assert "TASE-R is a reconstruction" in text
    assert any("[true labels]" in row[0] for row in rows(text))


def test_a_submission_is_a_row_of_its_own_and_never_the_reference(tmp_path):
    own = runs("simclr", 60)
    submit(tmp_path, "mine", [replace(record, device="far") for record in runs("simclr", 70)])
    submit(tmp_path, "theirs", runs("byol", 80))
    text = leaderboard_text([*own, *submitted(own, tmp_path)], method_title)
    found = {row[0]: row for row in rows(text)}
    assert list(found) == ["BYOL (temperature=0.2) [theirs]", "SimCLR (temperature=0.2) [mine]", "SimCLR (temperature=0.2)"]
    assert found["SimCLR (temperature=0.2)"][5] == "-"
    assert found["SimCLR (temperature=0.2) [mine]"][5].startswith("+")
    assert found["SimCLR (temperature=0.2) [mine]"][-1] == "far"


def test_a_submission_keeps_the_bytes_of_its_records(tmp_path):
    records = runs("simclr", 60)
    file = submit(tmp_path, "mine", records)
    submission, found = read_submission(file)
    assert found == records
    assert [bytes(line).decode() for line in submission.records] == [record.to_line() for record in records]


def test_two_submissions_of_one_name_are_refused(tmp_path):
    submit(tmp_path, "mine", runs("simclr", 70))
    file = submit(tmp_path, "other", runs("simclr", 75))
    file.write_text(file.read_text().replace('"name": "other"', '"name": "Mine"'))
    with pytest.raises(UserError, match=r"other.json and mine.json are both named Mine; rename one"):
        submitted([], tmp_path)


@pytest.mark.slow
@pytest.mark.figures
def test_the_page_has_every_shipped_row_and_the_best_first(tmp_path):
    page = write_leaderboard_page(tmp_path).read_text()
    records = [record for record in accuracies(read_records(shipped_files())) if not left_out(record)]
    assert all(record.run_id in page for record in records)
    summary = page[page.index('id="table-summary-') :].partition("</table>")[0]
    few = [float(row.partition('data-value="')[2].partition('"')[0]) for row in summary.split("<tr")[2:]]
    assert len(few) > 30
    assert few == sorted(few, reverse=True)
    assert (tmp_path / "tables" / "cifar10lt").is_dir()
    assert list((tmp_path / "figures").glob("*.pdf"))


def test_a_submission_in_another_precision_stands_beside_the_shipped_results(tmp_path):
    own = runs("simclr", 60)
    submit(tmp_path, "mine", runs("byol", 70, precision="fp32"))
    text = leaderboard_text([*own, *submitted(own, tmp_path)], method_title)
    assert text.count("## ") == 1
    found = {row[0]: row for row in rows(text)}
    assert found["BYOL (temperature=0.2) [mine, fp32]"][5].startswith("+")


def test_sections_with_equal_headings_name_backend_and_precision():
    text = leaderboard_text([*runs("simclr", 60), *runs("simclr", 60, executor="dali")])
    headings = re.findall("^## (.*)", text, re.MULTILINE)
    assert [heading.removeprefix("cifar10lt (variant exp-4500-45), preset cpu, 34 epochs") for heading in headings] == [
        ", dali views, bf16",
        ", torch views, bf16",
    ]


def test_the_csv_of_all_fields_has_the_precision_of_the_training(tmp_path):
    submit(tmp_path, "mine", runs("byol", 70, precision="fp32"))
    first, *_ = submitted(runs("simclr", 60), tmp_path)
    assert first.precision == "bf16"
    (line,) = csv.DictReader(io.StringIO(records_csv([first], AccuracyRecord)))
    assert line["precision"] == "fp32"
