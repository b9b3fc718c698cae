"""Collapse of a run: measurements and warnings, which log, record, terminal, tables, page and model card report."""

import csv
import json
import math

import pytest
import torch
from msgspec.structs import replace

import bench
from methods import METHODS
from run_store.layout import RESULTS
from run_store.records import read_records
from tests.runs import SMALL, small_config
from training.collapse import SETTLED, CollapseMonitor, find_warnings, likely_cause, measure, spread, weight_change
from training.config import resolve
from training.log import CollapseMeasures
from training.loop import train
from training.prepare import prepare

N, D = 512, 64
CPU = torch.device("cpu")
HEALTHY = CollapseMeasures(feature_std=0.5, effective_rank=30.0, embedding_std=0.7, embedding_rank=6.0, weight_change=1.0)
COMMON = ("--datasets", "digitslt", "--preset", "smoke", "--precision", "fp32", "--device", "cpu", "--probes", "ridge")
every_method = pytest.mark.parametrize("name", METHODS.names())


def made(kind: str) -> torch.Tensor:
    stream = torch.Generator().manual_seed(0)
    noise = torch.randn(N, D, generator=stream)
    signs = torch.where(torch.rand(N, 1, generator=stream) < 0.5, -1.0, 1.0)
    direction = torch.randn(1, D, generator=stream)
    return {
        "isotropic": noise,
        "equal": direction.repeat(N, 1),
        "zero": torch.zeros(N, D),
        "almost equal": direction + 1e-3 * noise,
        "one direction": signs * direction,
        "two directions": noise[:, :2] @ noise[:2],
    }[kind]


@pytest.mark.parametrize(
    ("kind", "std", "rank"),
    [
        ("isotropic", 1.0, 60.0),
        ("equal", 0.0, 0.0),
        ("zero", 0.0, 0.0),
        ("almost equal", 0.001, 60.0),
        ("one direction", 0.8, 1.0),
        ("two directions", 0.8, 2.0),
    ],
)
def test_spread_of_made_features(kind, std, rank):
    found_std, found_rank = spread(made(kind))
    assert found_std == pytest.approx(std, rel=0.2, abs=1e-4)
    assert found_rank == pytest.approx(rank, rel=0.1, abs=1e-4)
    scaled_std, scaled_rank = spread(1e4 * made(kind))
    assert scaled_std == pytest.approx(found_std, rel=1e-3, abs=1e-6)
    assert scaled_rank == pytest.approx(found_rank, rel=1e-3)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_features_that_are_not_finite_have_no_spread(value):
    rows = made("isotropic")
    rows[7, 3] = value
    assert spread(rows) == (None, None)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ()),
        ({"feature_std": 0.01}, ("features collapsed: standard deviation per dimension 0.01 of 1, effective rank 30.0",)),
        ({"effective_rank": 1.1}, ("features collapsed",)),
        ({"feature_std": None, "effective_rank": None}, ("features are not finite",)),
        ({"embedding_std": 0.01}, ("embeddings collapsed",)),
        ({"embedding_rank": 1.5}, ("embeddings collapsed",)),
        ({"embedding_std": None, "embedding_rank": None}, ("embeddings are not finite",)),
        ({"feature_std": 0.0, "effective_rank": 0.0, "embedding_std": 0.0, "embedding_rank": 0.0}, ("features collapsed",)),
        ({"weight_change": 0.0}, ("training hardly changed the backbone's weights: relative change 0",)),
        ({"weight_change": 1e4}, ("the backbone's weights are far from their initial values: relative change 1e+04",)),
        ({"weight_change": None}, ("the backbone's weights are far from their initial values: relative change not finite",)),
        (
            {"feature_std": 0.01, "weight_change": 1e4},
            ("features collapsed", "the backbone's weights are far from their initial values"),
        ),
    ],
)
def test_warnings_of_measurements(changes, expected):
    warnings = find_warnings(small_config("simclr"), replace(HEALTHY, **changes), SETTLED)
    assert len(warnings) == len(expected)
    assert all(warning.startswith(start) for warning, start in zip(warnings, expected, strict=True))
    assert not any("\n" in warning for warning in warnings)


def test_a_small_deviation_is_not_judged_before_running_statistics_are_settled():
    assert find_warnings(small_config("simclr"), replace(HEALTHY, feature_std=0.01), SETTLED - 1) == []
    assert find_warnings(small_config("simclr"), replace(HEALTHY, effective_rank=1.0), SETTLED - 1) != []


@pytest.mark.parametrize(
    ("method", "recipe", "hparams", "cause"),
    [
        ("byol", {}, {}, ""),
        ("byol", {"weight_decay": 1000.0}, {}, "recipe.weight_decay=1000; the preset smoke has 0.0001"),
        ("byol", {"weight_decay": 0.0}, {}, ""),
        ("byol", {"lr": 1e-30}, {}, "recipe.lr=1e-30; the preset smoke has 0.004"),
        ("byol", {"lr": 0.0}, {}, "recipe.lr=0; the preset smoke has 0.004"),
        ("byol", {"lr": 4.0, "weight_decay": 1e-3}, {}, "recipe.lr=4; the preset smoke has 0.004"),
        ("byol", {"lr": 4e-4, "weight_decay": 1.0}, {}, "recipe.weight_decay=1; the preset smoke has 0.0001"),
        ("byol", {"batch_size": 16}, {}, ""),  # the learning rate is scaled with it
        ("simclr", {}, {"temperature": 1e6}, "simclr.temperature=1e+06; the preset smoke has 0.2"),
        ("simclr", {}, {"out_dim": 2}, "simclr.out_dim=2; the preset smoke has 128"),
        ("ts", {}, {"temperature": 1e6}, ""),  # its default is a schedule
        ("colt", {}, {"budget": 1}, ""),  # lowered for a small OOD pool
    ],
)
def test_the_likely_cause_is_the_setting_furthest_from_its_default(method, recipe, hparams, cause):
    config = resolve(
        method=method,
        dataset="digitslt",
        profile=None,
        split=1,
        seed=0,
        preset="smoke",
        precision="fp32",
        recipe_changes=recipe,
        hparam_changes=hparams,
    )
    assert likely_cause(config) == (f"likely cause: {cause}" if cause else "")


def _training(name, images, **recipe):
    return prepare(small_config(name, **recipe), images, CPU, pool=images.repeat(2, 1, 1, 1).numpy())


@every_method
def test_measuring_changes_nothing_and_repeats_itself(name, photographs):
    training = _training(name, photographs)
    training.method.train()
    modes = [module.training for module in training.method.modules()]
    state = {key: value.clone() for key, value in training.state.state_dict().items()}
    generator = torch.get_rng_state()
    found = measure(training)
    assert found == measure(training)
    assert found.weight_change == 0
    assert min(found.feature_std, found.effective_rank, found.embedding_std, found.embedding_rank) > 0
    assert torch.equal(generator, torch.get_rng_state())
    assert modes == [module.training for module in training.method.modules()]
    assert all(torch.equal(value, state[key]) for key, value in training.state.state_dict().items())


def test_weight_change_is_relative_to_the_initial_weights(photographs):
    training = _training("simclr", photographs)
    assert weight_change(training) == 0
    with torch.no_grad():
        for parameter in training.method.backbone.parameters():
            parameter *= 1.5
    assert weight_change(training) == pytest.approx(0.5)
    with torch.no_grad():
        next(training.method.backbone.parameters()).fill_(torch.nan)
    assert math.isnan(weight_change(training))
    assert measure(training).weight_change is None


@pytest.mark.parametrize(
    ("epochs", "measured"),
    [(1, [1]), (2, [1, 2]), (5, [1, 2, 3, 4, 5]), (22, [1, 6, 11, 17, 22]), (2000, [40, 500, 1000, 1500, 2000])],
)
def test_runs_are_measured_at_a_few_epochs_and_at_the_last(epochs, measured, photographs, monkeypatch):
    monkeypatch.setattr("training.collapse.measure", lambda training: HEALTHY)
    training, monitor = _training("simclr", photographs, epochs=epochs), CollapseMonitor()
    assert [epoch for epoch in range(1, epochs + 1) if monitor(training, epoch)] == measured


class Stop(Exception):
    """Simulates a kill."""


@pytest.mark.parametrize("name", ["byol", "sdclr", "tase"])
def test_a_resumed_run_logs_the_same_values_and_trains_the_same_weights(name, photographs, tmp_path):
    keys = ["collapse", "loss_spikes"]

    def run(folder, stop_after=None, monitor=None):
        folder.mkdir(exist_ok=True)
        training, steps = _training(name, photographs[:96], epochs=4), 0

        def report(step):
            nonlocal steps
            steps += 1
            if steps == stop_after:
                raise Stop

        train(
            training, folder / "c.pt", folder / "log", report, 0.0 if stop_after else 1e9, analyse=monitor or CollapseMonitor()
        )
        return training, [
            {key: json.loads(line).get(key) for key in keys} for line in (folder / "log").read_text().splitlines()
        ]

    whole, log = run(tmp_path / "whole")
    assert all(line["collapse"]["weight_change"] > 0 for line in log)
    for stop_after in (2, 4, 8):
        with pytest.raises(Stop):
            run(tmp_path / f"stopped{stop_after}", stop_after)
        assert run(tmp_path / f"stopped{stop_after}")[1] == log
    unwatched, _ = run(tmp_path / "unwatched", monitor=lambda training, epoch: {})
    assert all(
        torch.equal(a, b) for a, b in zip(whole.state.state_dict().values(), unwatched.state.state_dict().values(), strict=True)
    )


COLLAPSED = {  # method, setting, epochs; the warning
    "weight decay, few steps": ("byol", "recipe.weight_decay=1000", 2, "weight decay removes the weights in one step"),
    "weight decay, byol": ("byol", "recipe.weight_decay=1000", 20, "features collapsed"),
    "weight decay, simclr": ("simclr", "recipe.weight_decay=1000", 20, "features collapsed"),
    "weight decay, one direction": ("byol", "recipe.weight_decay=100", 20, "embeddings collapsed"),
    "tiny learning rate": ("byol", "recipe.lr=1e-30", 2, "training hardly changed the backbone's weights"),
    "low learning rate": ("simclr", "recipe.lr=1e-06", 2, "training hardly changed the backbone's weights"),
    "huge learning rate": ("sdclr", "recipe.lr=40", 2, "the backbone's weights are far from their initial values"),
    "high learning rate": ("byol", "recipe.lr=0.04", 20, "embeddings collapsed"),
    "huge temperature": ("simclr", "simclr.temperature=1e+10", 2, "training hardly changed the backbone's weights"),
}


@pytest.mark.parametrize("kind", COLLAPSED)
def test_a_collapsed_run_is_reported_everywhere(kind, tmp_path, capsys):
    method, change, epochs, problem = COLLAPSED[kind]
    asked = ["--methods", method, "--set", change, "--epochs", str(epochs), "--out", str(tmp_path)]
    assert bench.main([*COMMON, *asked]) == 0
    printed = capsys.readouterr()
    (folder,) = tmp_path.glob("digitslt-*")
    last = json.loads((folder / "log.jsonl").read_text().splitlines()[-1])
    assert "collapse" in last
    facts = json.loads((folder / "training.json").read_text())
    warning = next(warning for warning in facts["warnings"] if warning.startswith(problem))
    assert f"likely cause: {change}; the preset smoke has" in warning
    assert all(record.warnings == facts["warnings"] for record in read_records([folder / RESULTS]))
    assert warning in printed.err
    assert f"WARNING {folder.name}: {warning}" in printed.err
    assert f"Warning: {method} split 1 seed 0: {warning}." in printed.out
    page = (tmp_path / "report.html").read_text()
    assert page.count('<p class="warning">') >= 1
    assert change in page
    tables = tmp_path / "tables"
    (results,) = csv.DictReader((tables / "results.csv").read_text().splitlines())
    assert warning in results["warnings"]
    accuracy = tables / "digitslt" / "linear-probe.csv"
    (own,) = [row for row in csv.DictReader(accuracy.read_text().splitlines()) if "[shipped]" not in row["method"]]
    assert warning in own["warnings"]
    assert "Warning: " in accuracy.with_suffix(".tex").read_text()
    assert "Warning: " in accuracy.with_suffix(".md").read_text()
    assert warning in accuracy.with_suffix(".meta.json").read_text()
    assert bench.main(["export", str(folder), "--to", str(tmp_path / "export")]) == 0
    assert "**Warning: " in (tmp_path / "export" / "README.md").read_text()


@pytest.mark.parametrize("length", ["1", pytest.param("2", marks=pytest.mark.slow), "20"])  # 2: all methods
def test_healthy_runs_have_no_warning(length, tmp_path, capsys):
    chosen = METHODS.names() if length == "2" else ["simclr", "byol"]
    budgets = [f"{name}.budget=100" for name in chosen if "colt" in name]
    pools = [f"{name}.pool=emoji" for name in chosen if "colt" in name]
    sets = ["--set", *budgets, *pools] if budgets else []
    assert bench.main([*COMMON, "--methods", *chosen, *sets, "--epochs", length, "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr()
    assert "arning" not in printed.out + printed.err
    assert '<p class="warning">' not in (tmp_path / "report.html").read_text()
    for folder in tmp_path.glob("digitslt-*"):
        assert json.loads((folder / "training.json").read_text())["warnings"] == []
        lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
        assert "collapse" in lines[0]
        assert not any("loss_spikes" in line for line in lines)


def test_an_untrained_network_has_no_warning(tmp_path, capsys):
    assert (
        bench.main([*COMMON, "--methods", "byol", "--epochs", "0", "--set", "recipe.weight_decay=1000", "--out", str(tmp_path)])
        == 0
    )
    assert "arning" not in "".join(capsys.readouterr())


def test_records_and_facts_of_earlier_versions_have_no_warnings(tmp_path):
    assert bench.main([*SMALL, "--methods", "simclr", "--probes", "knn", "--out", str(tmp_path)]) == 0
    (folder,) = tmp_path.glob("digitslt-*")
    for name in (RESULTS, "training.json"):
        content = {
            key: value for key, value in json.loads((folder / name).read_text()).items() if key not in ("warnings", "sha256")
        }
        (folder / name).write_text(json.dumps(content) + "\n")
    (record,) = read_records([folder / RESULTS])
    assert record.warnings == []
    assert bench.main([*SMALL, "--methods", "simclr", "--probes", "knn", "ridge", "--out", str(tmp_path)]) == 0
    assert len(read_records([folder / RESULTS])) == 2


def test_a_non_finite_loss_names_the_cause(tmp_path, capsys):
    asked = [*COMMON, "--methods", "byol", "--epochs", "20", "--set", "recipe.weight_decay=1000", "recipe.optimizer=sgd"]
    assert bench.main([*asked, "recipe.lr=0.5", "--out", str(tmp_path)]) == 1
    assert "likely cause: recipe.weight_decay=1000; the preset smoke has 0.0001" in capsys.readouterr().err
