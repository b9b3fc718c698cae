"""Runs that other workers execute, take over, finish or fail; workers on GPUs."""

import time
from contextlib import nullcontext

import pytest
import torch
from filelock import FileLock

from core.errors import UserError
from grid import execute
from grid.activity import TrainingMeter
from grid.options import GridOptions
from grid.plan import count_gpus, make_plan, plan_text
from grid.workers import WorkerCrash
from run_store import lease
from run_store.layout import LEASE, LOCK
from tests.runs import failures, small_config
from tests.shared_runs import write_lease
from training.loop import StepStats
from training.prepare import prepare

OPTIONS = {"methods": ["simclr"], "datasets": ["digitslt"], "preset": "smoke", "epochs": 2, "probes": ["knn"], "device": "cpu"}


@pytest.fixture
def plan(tmp_path, monkeypatch):
    monkeypatch.setattr(execute, "BUSY_SECONDS", 0.1)
    return make_plan(GridOptions(**OPTIONS, out=tmp_path))


@pytest.fixture
def run(plan):
    (run,) = plan.runs
    run.create()
    return run


def test_a_run_that_fails_in_another_worker_is_not_tried_again(plan, run, caplog, monkeypatch):
    caplog.set_level("INFO")
    lock = FileLock(run.path / LOCK, thread_local=False)
    lock.acquire()

    def fail(_seconds):
        monkeypatch.undo()
        run.error.write_text("Traceback\nDiverged: the loss is not finite\n")
        lock.release()

    monkeypatch.setattr(time, "sleep", fail)  # while this worker waits
    assert failures(plan) == {run.path.name: "Diverged: the loss is not finite"}
    assert "waiting for 1 run of other workers; the first: another process has locked" in caplog.text
    assert not (run.path / "config.json").exists()


def test_a_run_whose_process_was_killed_is_left_to_the_worker_that_has_resumed_it(plan, run, monkeypatch):
    """First the other worker executes the run, then it is done."""

    def crash(numbers, *_):
        write_lease(run.path)
        return [(number, WorkerCrash(-9)) for number in numbers]

    def finish(_seconds):
        assert not run.error.exists()
        (run.path / LEASE).unlink()
        with monkeypatch.context() as patch:
            patch.setattr(type(plan), "parallelism", (1, 1))
            assert failures(plan) == {}
        monkeypatch.setattr(execute, "parallel_map", lambda numbers, *_: [(number, WorkerCrash(-9)) for number in numbers])

    monkeypatch.setattr(execute, "parallel_map", crash)
    monkeypatch.setattr(type(plan), "parallelism", (2, 1))
    monkeypatch.setattr(time, "sleep", finish)
    assert failures(plan) == {}
    assert run.state(["knn"]) == "DONE"
    assert not run.error.exists()


def test_a_run_whose_process_was_killed_has_failed(plan, run, monkeypatch):
    crash = WorkerCrash(-9)
    monkeypatch.setattr(execute, "parallel_map", lambda numbers, *_: [(number, crash) for number in numbers])
    monkeypatch.setattr(type(plan), "parallelism", (2, 1))
    assert failures(plan) == {run.path.name: crash.reason}
    assert run.error.read_text() == crash.reason


def test_a_run_that_failed_before_is_tried_again(plan, run):
    run.error.write_text("Traceback\nDiverged: the loss is not finite\n")
    assert plan.states == ["FAILED"]
    time.sleep(0.05)
    assert failures(plan) == {}
    assert run.state(["knn"]) == "DONE"
    assert not run.error.exists()


def test_a_run_that_another_worker_has_finished_is_not_touched(plan, run):
    assert failures(plan) == {}
    before = {file.name: file.stat().st_mtime_ns for file in run.path.iterdir()}
    assert plan.states == ["NEW"]  # as it was when this worker began
    assert failures(plan) == {}
    assert {file.name: file.stat().st_mtime_ns for file in run.path.iterdir()} == before


def test_a_run_that_is_taken_over_is_left_to_the_other_worker(plan, run, monkeypatch, caplog):
    monkeypatch.setattr(lease, "STALE", 1e-6)  # the owner looks at the lease at every step
    seen = {}

    def take(meter, step):
        if not seen:
            write_lease(run.path, age=-3600)
            seen.update({file.name: file.read_bytes() for file in run.path.iterdir()})

    monkeypatch.setattr(TrainingMeter, "add", take)
    monkeypatch.setattr(time, "sleep", _check_nothing_is_written(run, seen, time.sleep))
    assert failures(plan) == {}
    assert run.state(["knn"]) == "DONE"
    (message,) = [m for m in caplog.messages if "has lost" in m]
    assert message.endswith(f"and has lost {run.path}; another worker takes over")


def _check_nothing_is_written(run, seen, sleep):
    """The other worker ends during the third wait."""
    waits = []

    def check(seconds):
        if len(waits) < 3:
            assert {file.name: file.read_bytes() for file in run.path.iterdir()} == seen
            waits.append(seconds)
            if len(waits) == 3:
                (run.path / LEASE).unlink()
        sleep(seconds)

    return check


def test_a_run_with_a_fresh_lease_is_busy(tmp_path):
    plan = make_plan(GridOptions(**OPTIONS | {"seeds": [0, 1, 2, 3]}, out=tmp_path))
    write_lease(plan.runs[0].path)
    write_lease(plan.runs[2].path, age=lease.STALE + 1)
    assert execute._busy(plan, [3, 0, 2, 1]) == [0]


def test_the_meter_of_a_resumed_run(photographs, monkeypatch):
    training = prepare(small_config("simclr", epochs=4, batch_size=64), photographs, torch.device("cpu"))
    meter = TrainingMeter(training)
    assert (meter().phase, meter().epoch, meter().epochs, meter().seconds_left) == ("training", None, 4, None)
    for _ in range(4):  # of epoch 3
        meter.add(StepStats(2, 64, 64 * 16 * 16, lambda: 0.0))
    now = time.monotonic()
    meter._began, meter._read = now - 8, now
    monkeypatch.setattr(time, "monotonic", lambda: now + 2)
    found = meter()
    assert (found.epoch, found.epochs) == (3, 4)
    assert found.images_per_second == pytest.approx(128)
    assert found.seconds_left == pytest.approx(10)  # as long as for the epoch
    assert meter().images_per_second == 0


@pytest.fixture
def gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: True)
    monkeypatch.setattr(torch.cuda, "device", nullcontext)
    monkeypatch.setattr("grid.plan.memory_bytes", lambda device=None: 2**36)
    chosen = []
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    return chosen


@pytest.mark.parametrize(("seeds", "processes"), [(range(6), 4), (range(2), 2), (range(1), 1)])
def test_jobs_gpus_is_one_process_for_each_gpu(seeds, processes, gpus, tmp_path):
    plan = make_plan(GridOptions(**OPTIONS | {"seeds": list(seeds), "device": "cuda", "jobs": "gpus"}, out=tmp_path))
    assert plan.parallelism[0] == processes
    assert (f"{processes} processes, one per GPU, of" in plan_text(plan)) == (processes > 1)


def test_each_worker_uses_the_gpu_of_its_number(plan, gpus, monkeypatch):
    started = {}

    def parallel_map(items, function, processes, initializer):
        for worker in range(processes):
            initializer(worker)
        started.update(processes=processes)
        return iter(())

    monkeypatch.setattr(execute, "parallel_map", parallel_map)
    options = GridOptions(**OPTIONS | {"seeds": [0, 1, 2], "device": "cuda", "jobs": "gpus", "workers": 1}, out=plan.out)
    on_gpus = make_plan(options)
    assert list(execute._execute_once(on_gpus, [0, 1, 2], execute._Runner(on_gpus, 60, 0))) == []
    assert started == {"processes": 3}
    assert gpus == [torch.device("cuda", number) for number in range(3)]
    gpus.clear()
    options = GridOptions(**OPTIONS | {"seeds": [0, 1, 2], "device": "cuda:1", "jobs": 2, "workers": 1}, out=plan.out)
    on_one = make_plan(options)
    assert list(execute._execute_once(on_one, [0, 1, 2], execute._Runner(on_one, 60, 0))) == []
    assert gpus == [torch.device("cuda", 1)] * 2


@pytest.mark.parametrize("device", ["cpu", "cuda:1"])
def test_jobs_gpus_needs_all_gpus(device):
    with pytest.raises(UserError, match=f"--jobs gpus needs all CUDA GPUs, but the device is {device}"):
        count_gpus(torch.device(device))


def test_the_error_of_a_run_is_written_before_its_lock_is_released(plan, run, monkeypatch):
    """Else another worker could begin the run in between."""
    held = []
    write = execute._save_error
    monkeypatch.setattr(execute, "_train", lambda *arguments: 1 / 0)
    monkeypatch.setattr(
        execute, "_save_error", lambda *arguments: (held.append((run.path / LEASE).exists()), write(*arguments))
    )
    assert "ZeroDivisionError" in failures(plan)[run.path.name]
    assert held == [True]
    assert run.error.exists()
    assert not (run.path / LEASE).exists()
