"""A grid that several workers share through its folder."""

import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file

import bench
from commands.status import status
from run_store.layout import RESULTS
from run_store.records import read_records
from run_store.states import statuses
from tests.conftest import DEADLINE, ROOT
from tests.runs import SMALL

# the command with short times between heartbeats and checks
WORK = """
import sys
from run_store import lease
from grid import execute
from commands import report
lease.HEARTBEAT, lease.STALE, execute.BUSY_SECONDS, report.BUSY_SECONDS = 0.5, 30.0, 0.5, 0.1
import bench
sys.exit(bench.main(sys.argv[1:]))
"""
RUNS = 6


def _arguments(out, checkpoint_seconds):
    small = list(SMALL)
    small[small.index("--epochs") + 1] = "60"
    small += ["--methods", "simclr", "byol", "--seeds", "0", "1", "2", "--probes", "knn"]
    small += ["--checkpoint-seconds", checkpoint_seconds]
    return [*small, "--jobs", "1", "--workers", "1", "--out", str(out)]


def _results(out):
    """Weights and accuracies of every run, by the name of its folder."""
    folders = [file.parent for file in out.glob("*/done")]
    records = {folder.name: read_records([folder / RESULTS]) for folder in folders}
    assert all([record.probe for record in found] == ["knn"] for found in records.values())
    return {f.name: (load_file(f / "weights.safetensors"), records[f.name][0].class_accuracy) for f in folders}


@pytest.mark.slow
def test_four_workers_of_which_two_are_killed_finish_a_grid(tmp_path):
    together, alone = tmp_path / "together", tmp_path / "alone"
    start = [sys.executable, "-c", WORK, *_arguments(together, "0.5")]
    workers = [subprocess.Popen(start, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for _ in range(4)]
    try:
        deadline = time.monotonic() + DEADLINE
        killed: dict[str, str] = {}  # names of runs by their killed worker
        while len(killed) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.1)
            for run in statuses(together) if together.exists() else ():
                training = run.lease is not None and (run.lease.activity.epoch or 0) > 1
                if training and run.lease.worker not in killed and len(killed) < 2:
                    print(status(together)[0])
                    next(w for w in workers if w.pid == int(run.lease.worker.rpartition(":")[2])).kill()
                    killed[run.lease.worker] = run.name
        said = [worker.communicate(timeout=DEADLINE)[0] for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
    for text in said:
        print(text, "-" * 80, sep="\n")
    print(status(together)[0])
    assert sorted(worker.returncode for worker in workers) == [-9, -9, 0, 0]
    finished = [text for text, worker in zip(said, workers, strict=True) if worker.returncode == 0]
    assert sorted("written by another worker: " in text for text in finished) == [False, True]
    assert sum(text.count("\nwritten: ") for text in finished) == 3  # tables, figures and page
    assert (together / "report.html").read_text().count("knn") > 0
    assert not [*together.glob("*/lease.json"), *together.glob("lease.json"), *together.glob("*/error.txt")]
    assert bench.main(_arguments(alone, "1e9")) == 0
    ours, theirs = _results(together), _results(alone)
    assert len(ours) == RUNS
    assert ours.keys() == theirs.keys()
    for name, (tensors, accuracy) in ours.items():
        assert accuracy == theirs[name][1]
        assert all(torch.equal(tensor, theirs[name][0][key]) for key, tensor in tensors.items())
