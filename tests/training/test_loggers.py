"""Loggers: a run read back from TensorBoard's files and from CSV, services by fakes, missing packages."""

import csv
import json
import sys
from types import SimpleNamespace

import pytest

import bench
from core.errors import UserError
from tests.runs import small_config
from training import loggers
from training.loggers import check_loggers, open_loggers, scalars

SMALL = [
    "--datasets",
    "digitslt",
    "--preset",
    "smoke",
    "--methods",
    "simclr",
    "--epochs",
    "3",
    "--probes",
    "knn",
    "--device",
    "cpu",
]
LINE = {"epoch": 2, "loss": 1.5, "lr": 0.1, "tail": {"auroc": 0.6, "spearman": None}, "note": "x", "sampling": {"few": [1, 2]}}


def test_scalars_are_the_finite_numbers():
    assert scalars({**LINE, "nan": float("nan"), "flag": True}) == {"loss": 1.5, "lr": 0.1, "tail/auroc": 0.6}


def _log(folder):
    return [json.loads(line) for line in next(folder.glob("digitslt-*/log.jsonl")).read_text().splitlines()]


def test_a_run_is_read_back_from_tensorboard_and_csv(tmp_path, monkeypatch):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    monkeypatch.setattr(bench, "_report", lambda *_: True)
    assert bench.main([*SMALL, "--log", "tensorboard", "csv", "--out", str(tmp_path)]) == 0
    (run,) = tmp_path.glob("digitslt-*")
    lines = _log(tmp_path)
    events = accumulator.EventAccumulator(str(run / "tensorboard")).Reload()
    assert set(events.Tags()["scalars"]) == {name for line in lines for name in scalars(line)}
    assert [(e.step, e.value) for e in events.Scalars("loss")] == [
        (line["epoch"], pytest.approx(line["loss"])) for line in lines
    ]
    rows = list(csv.DictReader((run / "metrics.csv").read_text().splitlines()))
    assert [float(row["loss"]) for row in rows] == [line["loss"] for line in lines]
    assert [float(row["tail/auroc"]) for row in rows] == [line["tail"]["auroc"] for line in lines]


def test_a_resumed_run_hides_repeated_epochs(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    config, log = small_config("simclr"), tmp_path / "log.jsonl"
    for epochs in ((1, 2, 3), (3, 4)):  # killed after the third epoch, before its checkpoint
        with open_loggers(["tensorboard"], tmp_path, log, config) as log_scalars:
            for epoch in epochs:
                log_scalars(epoch, {"loss": epoch + len(epochs) / 10})
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(e.step, round(e.value, 3)) for e in events.Scalars("loss")] == [(1, 1.3), (2, 2.3), (3, 3.2), (4, 4.2)]


def test_loggers_do_not_change_a_run(tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "_report", lambda *_: True)
    for name in ([], ["--log", "csv"]):
        assert bench.main([*SMALL, *name, "--out", str(tmp_path / str(len(name)))]) == 0
    (without,), (with_it,) = ((tmp_path / str(n)).glob("digitslt-*/weights.safetensors") for n in (0, 2))
    assert without.parent.name == with_it.parent.name
    assert without.read_bytes() == with_it.read_bytes()


@pytest.fixture
def services(monkeypatch):
    """Fake modules of both services; returns the list of calls: name, arguments, options."""
    calls = []

    def record(name):
        def call(*values, **options):
            calls.append((name, values, options))
            return SimpleNamespace(log=record("log"), finish=record("finish"))

        return call

    names = ("set_experiment", "start_run", "log_params", "log_metrics", "end_run")
    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=record("init")))
    monkeypatch.setitem(sys.modules, "mlflow", SimpleNamespace(**{name: record(name) for name in names}))
    return calls


def test_services_get_the_run_and_its_scalars(services, tmp_path):
    config = small_config("simclr")
    with open_loggers(["wandb", "mlflow"], tmp_path, tmp_path / "log.jsonl", config) as log_scalars:
        log_scalars(2, {"loss": 1.5})
    assert [name for name, *_ in services] == [
        "init",
        "set_experiment",
        "start_run",
        "log_params",
        "log",
        "log_metrics",
        "end_run",
        "finish",
    ]
    options = {name: found for name, _, found in services}
    assert (options["init"]["id"], options["init"]["resume"]) == (config.run_id, "allow")
    assert options["log"] == options["log_metrics"] == {"step": 2}
    ends = {name: (values, options) for name, values, options in services if name in ("end_run", "finish")}
    assert ends == {"end_run": (("FINISHED",), {}), "finish": ((), {"exit_code": 0})}


@pytest.mark.parametrize("error", [KeyboardInterrupt, UserError, ValueError])
def test_services_get_the_failure_of_a_run(error, services, tmp_path):
    with (
        pytest.raises(error),
        open_loggers(["wandb", "mlflow"], tmp_path, tmp_path / "log.jsonl", small_config("simclr")),
    ):
        raise error("x")
    assert [call for call in services if call[0] in ("end_run", "finish")] == [
        ("end_run", ("FAILED",), {}), ("finish", (), {"exit_code": 1})
    ]  # fmt: skip


def test_a_run_of_mlflow_that_cannot_be_described_is_ended(services, tmp_path, monkeypatch):
    def fail(parameters):
        raise ConnectionError("server is down")

    monkeypatch.setattr(sys.modules["mlflow"], "log_params", fail)
    with open_loggers(["mlflow"], tmp_path, tmp_path / "log.jsonl", small_config("simclr")) as log_scalars:
        log_scalars(1, {})
    assert [name for name, *_ in services] == ["set_experiment", "start_run", "end_run"]


@pytest.mark.parametrize("failing", ["open", "log", "close"])
def test_a_logger_that_fails_does_not_end_the_run(failing, tmp_path, monkeypatch, caplog):
    calls = []

    class Fake:
        def __init__(self, name):
            self.name = name
            self.call("open")

        def call(self, what):
            calls.append((self.name, what))
            if (self.name, what) == ("wandb", failing):
                raise ConnectionError("server is down\nat 10:00")

        def log(self, epoch, scalars):
            self.call("log")

        def close(self, complete):
            assert complete
            self.call("close")

    monkeypatch.setattr(loggers, "_open", lambda name, *_: Fake(name))
    with open_loggers(["mlflow", "wandb"], tmp_path, tmp_path / "log.jsonl", small_config("simclr")) as log_scalars:
        log_scalars(1, {})
        log_scalars(2, {})
    assert [what for name, what in calls if name == "mlflow"] == ["open", "log", "log", "close"]
    expected = {"open": ["open"], "log": ["open", "log", "close"], "close": ["open", "log", "log", "close"]}
    assert [what for name, what in calls if name == "wandb"] == expected[failing]
    assert [record.message for record in caplog.records] == ["--log wandb: server is down; training continues without it"]


def test_a_missing_package_is_one_line(monkeypatch):
    monkeypatch.setattr(loggers.importlib.util, "find_spec", lambda name: None)
    check_loggers(["csv"])
    with pytest.raises(UserError, match=r"^--log wandb needs the package wandb: pip install wandb$"):
        check_loggers(["csv", "wandb"])
    with pytest.raises(UserError, match="choose from tensorboard, wandb, mlflow, csv"):
        check_loggers(["tensorbord"])
