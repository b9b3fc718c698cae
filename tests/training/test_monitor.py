"""The kNN monitor: its results are logged, and weights do not change."""

import json

import pytest
import torch
from safetensors.torch import load_file

from grid.options import GridOptions
from grid.plan import make_plan
from tests.runs import failures


@pytest.fixture
def trained(tmp_path):
    """Trains three epochs on Digits-LT and returns the run."""

    def trained(method, out, **options):
        options = GridOptions(
            methods=[method],
            datasets=["digitslt"],
            preset="smoke",
            epochs=3,
            device="cpu",
            precision="fp32",
            probes=["ridge"],
            out=tmp_path / out,
            **options,
        )
        plan = make_plan(options)
        assert not failures(plan)
        return plan.runs[0]

    return trained


# methods with EMA networks, pruned branches or random numbers, on which a monitor could have side effects
@pytest.mark.parametrize("method", ["byol", "sdclr", "bcl", "tase"])
def test_weights_are_the_same_with_and_without_a_monitor(trained, method):
    plain, watched = trained(method, "plain"), trained(method, "watched", monitor="knn", monitor_every=1)
    first, second = load_file(plain.weights), load_file(watched.weights)
    assert first.keys() == second.keys()
    for name, values in first.items():
        assert torch.equal(values, second[name]), name
    assert plain.config.run_id == watched.config.run_id


def test_accuracy_is_in_the_log_and_the_progress_bar(trained, monkeypatch):
    from training import progress

    monkeypatch.setattr(progress, "LINE_SECONDS", 0)
    shown = []
    monkeypatch.setattr(progress.tqdm, "set_postfix_str", lambda self, text, refresh: shown.append(text))
    run = trained("simclr", "runs", monitor="knn", monitor_every=2)
    log = [json.loads(line) for line in run.log.read_text().splitlines()]
    assert ["knn" in line for line in log] == [False, True, True]  # every second epoch, and the last
    assert all(15 < line["knn"] <= 100 for line in log if "knn" in line)  # of ten classes
    assert any(f"kNN {log[1]['knn']:.1f} % (epoch 2)" in text for text in shown)
