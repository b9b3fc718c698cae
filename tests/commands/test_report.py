"""Tables, figures and page of a folder of runs in any state."""

import json
import os
import re
import time
from contextlib import ExitStack, contextmanager
from functools import partial

import pytest
from msgspec.structs import replace

from commands.report import exclusive_report, partial_report, report, shared_report, table_state
from commands.titles import method_title
from core.errors import UserError
from run_store.folder import RunFolder
from run_store.layout import REPORTED
from run_store.lease import file_clock, hold
from run_store.loading import read_config
from tests.reports.made import made_grid, made_record

CONFIG = {
    "format": 1,
    "method": "simclr",
    "hparams": {"temperature": 0.1},
    "dataset": "cifar10lt",
    "profile": "sdclr",
    "split": 1,
    "seed": 0,
    "preset": "cpu",
    "recipe": {"backbone": "slim-resnet8"},
    "precision": "bf16",
    "executor": "torch",
}


def make_run(out, name, *records, done=True, error=None, config=CONFIG):
    folder = out / name
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "results.jsonl").write_text("".join(record.to_line() + "\n" for record in records))
    if done:
        (folder / "done").write_text(records[0].run_id if records else "")
    if error:
        (folder / "error.txt").write_text(error)
    return folder


def test_runs_are_done_unfinished_or_failed(tmp_path):
    assert table_state(make_run(tmp_path, "a-1")) is None
    unfinished = table_state(make_run(tmp_path, "cifar10lt-simclr-split1-seed0-abc", done=False))
    assert (unfinished.status, unfinished.reason, unfinished.run_id, unfinished.title) == ("unfinished", "", "abc", "SimCLR")
    failed = table_state(make_run(tmp_path, "c-3", done=False, error="Traceback\n  line\nDiverged: the loss is not finite\n"))
    assert (failed.status, failed.reason) == ("failed", "Diverged: the loss is not finite")
    assert table_state(make_run(tmp_path, "d-4", done=False, config={"weights": "of a file"})) is None


def test_tables_have_the_group_of_each_method(tmp_path):
    """In every format; empty for weights and methods that are not registered, and no column where all are empty."""
    for method in ("simclr", "sdclr", "former"):
        records = list(made_grid([method], splits=1, seeds=1, probes=("sdclr", "sdclr-1pct")))
        make_run(tmp_path / "runs", f"cifar10lt-{method}-split1-seed0-{records[0].run_id}", *records)
    text = report(tmp_path / "runs", figures=False).text
    rows = [line.split() for line in text[text.index("  Group ") :].splitlines() if "(temperature=0.2)" in line]
    assert {row[0]: row[2] for row in rows} == {"SimCLR": "baselines", "SDCLR": "long-tail"}
    for name in ("sdclr-probe", "combined-sdclr-probe"):
        csv = tmp_path / f"runs/tables/cifar10lt/{name}.csv"
        found = {line.split(",")[0].split(" ")[0]: line.split(",")[1] for line in csv.read_text().splitlines()}
        assert found == {"method": "method_group", "SimCLR": "baselines", "SDCLR": "long-tail", "former": ""}
        assert "Method & Group & " in csv.with_suffix(".tex").read_text()
        assert "| Group " in csv.with_suffix(".md").read_text()
    (record,) = made_grid(["former"], splits=1, seeds=1, probes=("ridge",))
    make_run(tmp_path / "other", "cifar10lt-former-split1-seed0-abc", record)
    assert "Group" not in report(tmp_path / "other", figures=False).text


@pytest.mark.figures
def test_a_repeated_report_is_identical(tmp_path):
    for record in made_grid(["simclr", "byol"], splits=1, seeds=1, probes=("ridge",)):
        record = replace(record, run_id=f"{record.method}10")
        make_run(tmp_path, f"cifar10lt-{record.method}-split1-seed0-{record.run_id}", record)
    make_run(tmp_path, "cifar10lt-simclr-split2-seed0-abc", done=False, error="Diverged: lost\n")
    written = report(tmp_path)
    assert "SimCLR" in written.text
    assert [path.name for path in written.paths] == ["tables", "figures", "report.html"]
    page = (tmp_path / "report.html").read_text()
    assert "Diverged: lost" in page
    assert 'id="table-missing-runs"' not in page  # the page has its own list of those runs
    assert "Diverged: lost" in (tmp_path / "tables" / "missing-runs.md").read_text()
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    report(tmp_path)
    assert before == {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}


@pytest.mark.figures
def test_a_folder_that_was_renamed_is_still_reported(tmp_path):
    (record,) = made_grid(["simclr"], splits=1, seeds=1, probes=("ridge",))
    folder = make_run(tmp_path, "my favourite run", record)
    epochs = [{"epoch": epoch, "loss": 1.0, "lr": 0.1, "images_per_second": 9.0} for epoch in (1, 2)]
    (folder / "log.jsonl").write_text("".join(json.dumps(epoch) + "\n" for epoch in epochs))
    assert "SimCLR" in report(tmp_path).text
    assert list((tmp_path / "figures").glob("*training*.svg"))  # from its log


def test_a_folder_without_runs_has_no_report(tmp_path):
    (tmp_path / "other").mkdir()
    assert report(tmp_path) is None
    assert {file.name for file in tmp_path.iterdir()} == {"other"}


def test_the_page_has_records_of_unfinished_runs(tmp_path):
    (record,) = made_grid(["simclr"], splits=1, seeds=1, probes=("ridge",))
    make_run(tmp_path, "cifar10lt-simclr-split1-seed0-abc", replace(record, run_id="abc"), done=False)
    report(tmp_path, figures=False)
    data = re.search(r'id="runs-data">(.*?)</script>', (tmp_path / "report.html").read_text(), re.DOTALL)[1]
    (run,) = json.loads(data)
    assert (run["status"], run["results"]["linear (ridge)"]["All"]) == ("unfinished", f"{record.mean:.1f}")


def test_a_protocol_with_invalid_utf8_is_reported(tmp_path):
    (record,) = made_grid(["simclr"], splits=1, seeds=1, probes=("ridge",))
    make_run(tmp_path, "a-1", replace(record, protocol="of x\udcff.pth"))
    report(tmp_path, figures=False)
    assert "of x?.pth" in (tmp_path / "report.html").read_text()


def make_grid(out, *datasets):
    """Folders of two methods' runs on each data set, under two probes."""
    runs = []
    for dataset in datasets:
        for record in made_grid(["simclr", "byol"], splits=1, seeds=1, probes=("knn", "ridge")):
            record = replace(record, dataset=dataset, data=f"{dataset}, synthetic", run_id=f"{dataset}{record.method}")
            folder = out / f"{dataset}-{record.method}-split1-seed0-{record.run_id}"
            if record.probe == "knn":
                make_run(out, folder.name, record, config=CONFIG | {"dataset": dataset, "method": record.method})
                runs.append(RunFolder(folder, None))
            else:
                with (folder / "results.jsonl").open("a") as file:
                    file.write(record.to_line() + "\n")
    return runs


@pytest.mark.parametrize("dataset", ["cifar10lt", "cifar100lt"])
def test_an_unfinished_grid_prints_the_main_table_of_the_setting_of_the_last_run(tmp_path, dataset):
    runs = make_grid(tmp_path, "cifar10lt", "cifar100lt")
    runs.append(RunFolder(tmp_path / "not-begun", None))
    text = partial_report(tmp_path, runs, f"{dataset}byol", since=0)
    assert re.findall(r"(\S+) \(variant", text) == [dataset]
    assert text.count("probe linear (ridge):") == 1
    assert "SimCLR" in text
    assert "knn" not in text
    assert partial_report(tmp_path, runs, "none", since=0) == ""
    assert "drawn when the grid ends" in (tmp_path / "report.html").read_text()
    assert not (tmp_path / "figures").exists()


@pytest.mark.figures
def test_the_page_of_an_unfinished_grid_follows_it_in_a_folder_with_figures(tmp_path):
    runs = make_grid(tmp_path, "cifar10lt")
    report(tmp_path)
    figures = {file: file.read_bytes() for file in (tmp_path / "figures").rglob("*")}
    assert figures
    assert "cifar100ltbyol" not in (tmp_path / "report.html").read_text()
    runs += make_grid(tmp_path, "cifar100lt")
    partial_report(tmp_path, runs, "cifar100ltbyol", since=0)
    page = (tmp_path / "report.html").read_text()
    assert "cifar100ltbyol" in page
    assert "drawn when the grid ends" in page
    assert figures == {file: file.read_bytes() for file in (tmp_path / "figures").rglob("*")}
    report(tmp_path)
    assert "drawn when the grid ends" not in (tmp_path / "report.html").read_text()


def test_the_report_of_a_shared_grid_is_written_once(tmp_path):
    record, later = made_grid(["simclr", "byol"], splits=1, seeds=1, probes=("ridge",))
    make_run(tmp_path, "cifar10lt-simclr-split1-seed0-a", record)
    since = file_clock(tmp_path)
    time.sleep(0.02)
    first = shared_report(tmp_path, [record.run_id], since)
    page = tmp_path / "report.html"
    written = page.stat().st_mtime_ns
    second = shared_report(tmp_path, [record.run_id], since)
    assert (first.by_another, second.by_another) == (False, True)
    assert (first.text, first.paths) == (second.text, second.paths)
    assert page.stat().st_mtime_ns == written
    assert not (tmp_path / "lease.json").exists()
    time.sleep(0.02)
    make_run(tmp_path, "cifar10lt-byol-split1-seed0-b", later)  # by a worker with another list of runs
    assert not shared_report(tmp_path, None, since).by_another
    assert "BYOL" in page.read_text()
    time.sleep(0.02)
    assert not shared_report(tmp_path, None, file_clock(tmp_path)).by_another  # the command was repeated


def test_workers_wait_for_the_one_that_writes_the_report(tmp_path, monkeypatch):
    (record,) = made_grid(["simclr"], splits=1, seeds=1, probes=("ridge",))
    make_run(tmp_path, "cifar10lt-simclr-split1-seed0-a", record)
    since = file_clock(tmp_path)
    time.sleep(0.02)
    with ExitStack() as other:
        other.enter_context(hold(tmp_path))

        def finish(seconds):
            (tmp_path / ".reported").touch()
            other.close()

        monkeypatch.setattr("commands.report.time.sleep", finish)
        assert shared_report(tmp_path, None, since).by_another
    assert not (tmp_path / "report.html").exists()


def test_a_run_of_an_unknown_preset_is_reported(tmp_path):
    (record,) = made_grid(["simclr"], splits=1, seeds=1, probes=("ridge",))
    make_run(tmp_path, "cifar10lt-simclr-split1-seed0-a", record)
    folder = make_run(tmp_path, "cifar10lt-simclr-split1-seed0-b", done=False, config=CONFIG | {"preset": "other"})
    assert table_state(folder).title == "simclr"
    assert report(tmp_path, figures=False) is not None
    with pytest.raises(UserError, match=r"config.json has a preset that is unknown in this version of the suite: other$"):
        read_config(folder)


def test_a_report_of_another_worker_is_kept_or_waited_for(tmp_path, monkeypatch):
    (record,) = made_grid(["simclr"], splits=1, seeds=1, probes=("ridge",))
    make_run(tmp_path, "cifar10lt-simclr-split1-seed0-a", record)
    runs = [RunFolder(tmp_path / "cifar10lt-simclr-split1-seed0-a", None)]
    with ExitStack() as other:
        other.enter_context(hold(tmp_path))
        assert "SimCLR" in partial_report(tmp_path, runs, record.run_id, since=0)
        assert not (tmp_path / "report.html").exists()
        monkeypatch.setattr(time, "sleep", lambda seconds: other.close())
        assert exclusive_report(tmp_path) is not None
    assert (tmp_path / "report.html").exists()


def test_a_finished_report_of_another_worker_is_not_replaced_by_a_partial_one(tmp_path):
    runs = make_grid(tmp_path, "cifar10lt")
    since = file_clock(tmp_path) - 1
    shared_report(tmp_path, None, since)
    os.utime(tmp_path / REPORTED)
    finished = (tmp_path / "report.html").read_text()
    assert "SimCLR" in partial_report(tmp_path, runs, "cifar10ltbyol", since)
    assert (tmp_path / "report.html").read_text() == finished
    partial_report(tmp_path, runs, "cifar10ltbyol", since=time.time() + 100)
    assert "drawn when the grid ends" in (tmp_path / "report.html").read_text()


def test_a_report_that_another_worker_ends_while_the_folder_is_locked_is_not_repeated(tmp_path, monkeypatch):
    make_grid(tmp_path, "cifar10lt")

    @contextmanager
    def hold_after_another(folder):
        with hold(folder) as lease:
            (tmp_path / REPORTED).touch()
            os.utime(tmp_path / REPORTED, (time.time() + 10, time.time() + 10))
            yield lease

    monkeypatch.setattr("commands.report.hold", hold_after_another)
    assert shared_report(tmp_path, None, since=0).by_another
    assert not (tmp_path / "report.html").exists()


def test_external_weights_are_named_by_what_was_loaded(tmp_path):
    hparams = {"file": "w.pth", "sha256": "abc", "key": "", "prefix": ""}
    titles = [
        method_title(made_record("external", hparams=hparams | given))
        for given in ({}, {"key": "teacher"}, {"key": "student"}, {"key": "student", "prefix": "module."})
    ]
    assert titles == [
        "w.pth (abc)",
        *(f"w.pth (abc, {more})" for more in ("key=teacher", "key=student", "key=student, prefix=module.")),
    ]


def test_no_report_creates_a_removed_folder_again(tmp_path):
    out = tmp_path / "runs"
    for write in (
        report,
        exclusive_report,
        partial(partial_report, runs=[], run_id="", since=0),
        partial(shared_report, run_ids=None, since=0),
    ):
        with pytest.raises(UserError, match="was removed during the run"):
            write(out)
    assert not out.exists()
