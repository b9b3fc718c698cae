"""The main job as the README gives it, on real CIFAR-10, at the smallest scale."""

import json
import subprocess
import sys

import pytest

from tests.conftest import ROOT


@pytest.mark.slow
def test_the_main_job_runs_end_to_end_on_real_cifar10(tmp_path):
    asked = ["--methods", "all", "--datasets", "cifar10lt", "--preset", "smoke", "--out", str(tmp_path / "runs")]
    finished = subprocess.run([sys.executable, str(ROOT / "bench.py"), *asked], capture_output=True, text=True, timeout=1200)
    assert finished.returncode == 0, finished.stderr
    assert "Smoke-scale numbers, not comparable with published ones" in finished.stdout
    records = [json.loads(line) for file in tmp_path.glob("runs/*/results.jsonl") for line in file.read_text().splitlines()]
    assert {record["method"] for record in records} == {"simclr", "byol", "sdclr", "bcl", "colt", "tase", "ts"}
    for record in records:
        assert record["n_pretrain"] == sum(record["class_counts"]) == 11165
        assert record["n_test"] == 10_000
        assert record["pretrain_sha256"] == "7a45276aaa30a01a1db4c2bb73be84e64c2b833f2c5b6f10864545c2879a72d4"
        assert (record["pool"] is not None) == (record["method"] == "colt")
        assert record["mean"] > 15  # ten classes: even a network of a minute is more accurate than chance
