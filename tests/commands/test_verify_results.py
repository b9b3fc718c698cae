"""`verify-results`: trains a shipped run again, and says which accuracies are reproduced."""

import json

import pytest
from msgspec import to_builtins
from msgspec.structs import replace

import bench
from commands.verify_results import _records_of
from methods import METHODS
from reports.shipped import SHIPPED
from reports.spread import FILE, Spread
from run_store.loading import config_of
from run_store.records import Record, accuracies, read_records
from training.config import resolve

ROW = "ab7406ac175b"  # simclr on digitslt, smoke


@pytest.fixture
def results(tmp_path, monkeypatch):
    """Writes shipped records and their spreads; returns the shipped row of digitslt."""
    monkeypatch.setattr("reports.shipped.SHIPPED", tmp_path / "results")

    def write(*records: Record, sd: float = 1.0) -> None:
        spread = Spread(sd=sd, mean=0.0, largest=0.0, runs=9, devices=["a", "b"])
        for record in records:
            folder = tmp_path / "results" / record.dataset
            folder.mkdir(parents=True, exist_ok=True)
            with (folder / f"{record.preset}.jsonl").open("a") as file:
                file.write(record.to_line() + "\n")
        known = {f"{record.dataset}/{record.preset}": {"ridge": to_builtins(spread)} for record in records}
        (tmp_path / "results" / FILE).write_text(json.dumps(known))

    return write


@pytest.fixture
def row():
    """The shipped record of the probe ridge."""
    records = accuracies(read_records([SHIPPED / "digitslt" / "smoke.jsonl"]))
    return next(record for record in records if record.probe == "ridge")


@pytest.fixture
def trained(monkeypatch):
    """Replaces training by records with the given mean; returns the function that sets it."""

    def set_mean(record, mean):
        monkeypatch.setattr("commands.verify_results.execute", lambda *arguments: iter(()))
        found = [replace(record, mean=mean)]
        monkeypatch.setattr("run_store.folder.RunFolder.records", lambda run: found)

    return set_mean


@pytest.mark.parametrize(("difference", "status"), [(0.0, 0), (2.9, 0), (-2.9, 0), (3.1, 1), (-3.1, 1)])
def test_the_exit_status_is_1_outside_of_the_spread(difference, status, row, results, trained, tmp_path, capsys):
    results(row)
    trained(row, row.mean + difference)
    assert bench.main(["verify-results", ROW[:6], "--device", "cpu", "--out", str(tmp_path / "runs")]) == status
    line = capsys.readouterr().out
    assert line.startswith("ridge: ")
    assert ("NOT reproduced" in line) == bool(status)
    assert f"difference {difference:+.2f}, limit 3.00" in line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["f00"], "no shipped run is f00"),
        (["simclr", "--split", "2"], "no shipped run is simclr (split 2, seed 0)"),
        (["simclr", "--seed", "1"], "no shipped run is simclr"),
        (["simclr", "--preset", "paper"], "no shipped run is simclr (split 1, seed 0, preset paper)"),
        (["simclr", "--dataset", "cifar10lt"], "no shipped run is simclr (split 1, seed 0, dataset cifar10lt)"),
        ([ROW, "--probes", "knn"], "no probe of this run matches 'knn'"),
    ],
)
def test_a_row_that_does_not_exist_is_refused(arguments, message, row, results, mistake):
    results(row)
    assert message in mistake("verify-results", *arguments)


def with_settings(record, **settings):
    """The record of a run of the same method in another setting."""
    config = resolve(method=record.method, precision=record.precision, **settings)
    fields = {name: value for name, value in config.to_json().items() if name != "format"}
    return replace(record, run_id=config.run_id, **fields)


def test_a_method_with_several_runs_is_refused(row, results, mistake):
    other = with_settings(row, dataset="cifar10lt", preset="cpu")
    results(row, other)
    line = mistake("verify-results", "simclr")
    assert f"{ROW} (SimCLR, digitslt " in line
    assert f"{other.run_id} (SimCLR, cifar10lt exp-4500-45, cpu, " in line
    assert "give a run id" in line


def test_a_method_is_its_run_with_the_settings_of_the_preset(row, results, trained, tmp_path, capsys):
    other = replace(row, hparams={"temperature": 0.9}, run_id="cafe")
    results(other, row)
    trained(row, row.mean)
    command = ["verify-results", "SimCLR", "--dataset", "Digits*", "--device", "cpu", "--out", str(tmp_path / "runs")]
    assert bench.main(command) == 0
    assert "difference +0.00" in capsys.readouterr().out


def test_runs_with_other_settings_are_named_by_them(row, results, mistake):
    results(*(replace(row, hparams={"temperature": value}, run_id=f"cafe{value}") for value in (0.8, 0.9)))
    line = mistake("verify-results", "simclr")
    assert "cafe0.8 (SimCLR (temperature=0.8), digitslt" in line


@pytest.mark.parametrize("method", METHODS.names())
def test_every_shipped_method_can_be_named(method):
    """Its run of the main table is found among those of other budgets, variants and hyper-parameters."""
    found = _records_of(method, "cifar10lt", "cpu", 1, 0)
    assert {record.epochs for record in found} == {22}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"passport": "0" * 12}, "the data of run"),
        ({"pool": "emoji, 3786 images"}, "the OOD pool of run"),
        ({"hparams": {"temperature": 0.9}}, "other settings than its id"),
        ({"hparams": {"heat": 0.9}}, "settings that are unknown"),
    ],
)
def test_a_row_that_cannot_be_trained_here_is_refused_before_training(changes, message, row, results, mistake):
    results(replace(row, **changes))
    assert message in mistake("verify-results", ROW)


def test_without_a_spread_nothing_is_trained(row, results, mistake):
    results(replace(row, probe="knn"))
    assert "no spread of the probe knn on digitslt/smoke" in mistake("verify-results", ROW)


def test_all_shipped_rows_can_be_configured():
    """Their settings give their run ids in this version of the suite."""
    for file in SHIPPED.glob("*/*.jsonl"):
        for record in read_records([file]):
            assert config_of(record).run_id == record.run_id


@pytest.mark.slow
def test_a_shipped_row_is_reproduced(capfd):
    assert bench.main(["verify-results", ROW, "--device", "cpu"]) == 0
    assert capfd.readouterr().out.count(": reproduced") == 3
