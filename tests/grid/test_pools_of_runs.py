"""OOD pools of COLT, from the command line to the tables."""

import json
from contextlib import nullcontext

import numpy as np
import pytest

import bench
from grid.options import GridOptions
from grid.plan import make_plan

SMALL = ("--datasets", "digitslt", "--preset", "smoke", "--precision", "fp32", "--epochs", "2", "--device", "cpu")


@pytest.fixture
def pool(photographs, tmp_path):
    """Setting of COLT for an OOD pool of real photographs, without a download."""
    path = tmp_path / "pool.npy"
    np.save(path, photographs.permute(0, 2, 3, 1).numpy())
    return f"colt.pool=folder:{path}"


def test_a_pool_is_named_in_configuration_records_and_tables(pool, tmp_path, capsys):
    out = tmp_path / "runs"
    assert bench.main([*SMALL, "--methods", "colt", "--set", pool, "--out", str(out), "--probes", "knn"]) == 0
    name = pool.removeprefix("colt.pool=")
    assert f"COLT (pool={name})" in capsys.readouterr().out
    (folder,) = out.glob("digitslt-*")
    assert json.loads((folder / "config.json").read_text())["hparams"]["pool"] == name
    record = json.loads((folder / "results.jsonl").read_text())
    assert record["pool"].startswith(f"{name}, 256 images, sha256 ")
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert all(0 <= line["tail"]["auroc"] <= 1 for line in lines)
    assert record["tail_auroc"] == lines[-1]["tail"]["auroc"]
    assert lines[-1]["clusters"]["number"] == 10


def test_auto_selects_the_best_available_pool(tmp_path, monkeypatch, caplog):
    pools = []
    for best in ("emoji", "300k"):
        monkeypatch.setattr("grid.plan.best_pool", lambda root, best=best, **command: best)
        options = GridOptions(methods=["colt", "simclr"], preset="paper", device="cpu", data_root=tmp_path)
        colt, simclr = make_plan(options).runs
        pools.append((colt.config.hparams["pool"], colt.config.hparams["budget"]))
        assert "pool" not in simclr.config.hparams
    # the small pool is smaller than the paper's budget: the budget is half of it, with a warning
    assert pools == [("emoji", 1893), ("300k", 10_000)]
    assert "colt.budget is 1893, not 10000: emoji, the best available pool, has 3786 images" in caplog.text


def test_cifar100_is_no_pool_for_a_benchmark_made_of_it(tmp_path, mistake):
    (tmp_path / "cifar100-sheets").mkdir()
    pools = []
    for dataset in ("cifar10lt", "cifar100lt"):
        options = GridOptions(methods=["colt"], datasets=[dataset], preset="cpu", device="cpu", data_root=tmp_path)
        (colt,) = make_plan(options).runs
        pools.append(colt.config.hparams["pool"])
    assert pools == ["cifar100", "emoji"]
    command = ["plan", "--methods", "colt", "--datasets", "cifar100lt", "--set", "colt.pool=cifar100", "--data-root", tmp_path]
    assert "colt.pool=cifar100: cifar100lt consists of the same images; choose another pool" in mistake(*command)


def test_a_run_does_not_resume_with_another_pool(pool, tmp_path, capsys, monkeypatch):
    command = [*SMALL, "--methods", "colt", "--set", pool, "--out", str(tmp_path / "runs"), "--probes", "knn"]
    monkeypatch.setattr("grid.execute.stop_requests", lambda: nullcontext(lambda: True))
    assert bench.main(command) == 130
    monkeypatch.undo()
    file = tmp_path / "pool.npy"
    np.save(file, 255 - np.load(file))
    assert bench.main(command) == 1
    assert "was trained with the OOD pool" in capsys.readouterr().err


def test_a_pool_smaller_than_the_budget_is_refused_before_the_first_run(pool, tmp_path, mistake):
    command = [*SMALL, "--methods", "simclr", "colt", "--out", tmp_path / "runs", "--set", pool, "colt.budget=300"]
    assert "colt samples 300 images, but its OOD pool has 256; lower colt.budget or choose another pool" in mistake(*command)
    assert not any(path.is_dir() for path in (tmp_path / "runs").iterdir())
