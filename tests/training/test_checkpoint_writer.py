"""Checkpoints are written by a thread from a copy of the state, one at a time, and their errors reach training."""

import copy
import errno
import io
import shutil
import threading
from dataclasses import asdict

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD
from torch.utils._pytree import tree_leaves

from core.errors import UserError
from tests.runs import EVERY_METHOD, small_config
from training import checkpoint_writer
from training.checkpoint import Progress, has_checkpoint, load_checkpoint, read_checkpoint, write_checkpoint
from training.checkpoint_writer import CheckpointWriter
from training.device import CPU
from training.loop import batches, start_epoch, step, train
from training.prepare import prepare

RUN = "0123456789ab"


class Gate:
    """Holds the thread before it writes until the gate is open; counts the calls, and the most at once."""

    def __init__(self):
        self.open, self.lock = threading.Event(), threading.Lock()
        self.calls = self.running = self.most = 0

    def write(self, path, content):
        with self.lock:
            self.calls += 1
            self.running += 1
            self.most = max(self.most, self.running)
        assert self.open.wait(60)
        write_checkpoint(path, content)
        with self.lock:
            self.running -= 1


@pytest.fixture
def gate(monkeypatch):
    gate = Gate()
    monkeypatch.setattr(checkpoint_writer, "write_checkpoint", gate.write)
    return gate


def _layer(step=0):
    layer = nn.Linear(3, 3)
    nn.init.constant_(layer.weight, step)
    return layer, SGD(layer.parameters())


def _equal(a, b):
    pairs = list(zip(tree_leaves(a), tree_leaves(b), strict=True))
    return all(torch.equal(x, y) and x.stride() == y.stride() if isinstance(x, Tensor) else x == y for x, y in pairs)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "muon"])
@pytest.mark.parametrize("name", EVERY_METHOD)
def test_the_checkpoint_is_of_the_step_at_which_it_was_saved(name, optimizer, photographs, tmp_path, gate):
    """Training goes on while the thread has not begun to write."""
    config, path = small_config(name, optimizer=optimizer), tmp_path / "checkpoint.pt"
    training = prepare(config, photographs, CPU, pool=photographs.numpy())
    start_epoch(training, 0)
    training.method.train()
    stream, progress = batches(training, 0), Progress(step=2, unreadable=["a"])
    for number in range(2):
        step(training, next(stream), number)
    with CheckpointWriter(path, config.run_id, training.state, training.optimizer, CPU) as writer:
        writer.save(progress)
        saved = copy.deepcopy((training.state.state_dict(), training.optimizer.state_dict()))
        for number in range(2, 4):
            step(training, next(stream), number)
        progress.step, progress.unreadable[0] = 4, "b"
        gate.open.set()
    later = training.state.state_dict(), training.optimizer.state_dict()
    assert not _equal(later, saved)
    content = read_checkpoint(path, config.run_id)
    assert _equal((content["state"], content["optimizer"]), saved)
    assert (content["progress"].step, content["progress"].unreadable) == (2, ["a"])
    assert content["state"]._metadata == saved[0]._metadata
    with CheckpointWriter(path, config.run_id, training.state, training.optimizer, CPU) as writer:
        writer.save(progress)  # into the same buffers
        writer.save(progress)
    content = read_checkpoint(path, config.run_id)
    assert _equal((content["state"], content["optimizer"]), later)


def test_checkpoints_are_never_written_at_once(tmp_path, gate):
    layer, optimizer = _layer()
    with CheckpointWriter(tmp_path / "checkpoint.pt", RUN, layer, optimizer, CPU) as writer:
        assert writer.ready()
        writer.save(Progress(step=1))
        assert not writer.ready()
        threading.Timer(0.2, gate.open.set).start()
        for number in range(2, 6):
            writer.save(Progress(step=number))
    assert (gate.calls, gate.most) == (5, 1)
    assert load_checkpoint(tmp_path / "checkpoint.pt", RUN, layer, optimizer).step == 5


@pytest.mark.parametrize("stopped", [False, True])
def test_training_does_not_wait_except_at_its_end(stopped, photographs, tmp_path, gate):
    """The first checkpoint takes longer than the other steps: they save none, the last step saves one and waits."""
    config = small_config("simclr", epochs=2)
    training, steps = prepare(config, photographs, CPU), 0

    def on_step(stats):
        nonlocal steps
        steps += 1
        if steps == 12:
            assert gate.calls == 1
            gate.open.set()

    def run():
        train(training, tmp_path / "checkpoint.pt", tmp_path / "log", on_step, 1e-9, lambda: stopped and steps == 12)

    if stopped:
        with pytest.raises(KeyboardInterrupt):
            run()
    else:
        run()
    assert steps == (12 if stopped else 16)
    assert gate.most == 1
    progress = read_checkpoint(tmp_path / "checkpoint.pt", config.run_id)["progress"]
    assert (progress.epoch, progress.step) == ((1, 4) if stopped else (2, 0))


@pytest.mark.parametrize("stopped", [False, True])
def test_a_checkpoint_that_cannot_be_written_ends_the_run(stopped, photographs, tmp_path, monkeypatch):
    def fail(path, content):
        raise UserError("cannot write: no space left")

    monkeypatch.setattr(checkpoint_writer, "write_checkpoint", fail)
    training, steps = prepare(small_config("simclr", epochs=50), photographs, CPU), 0

    def on_step(stats):
        nonlocal steps
        steps += 1

    with pytest.raises(UserError, match="no space left"):
        train(training, tmp_path / "checkpoint.pt", tmp_path / "log", on_step, 0, lambda: stopped)
    assert steps < 8 * 50


@pytest.mark.parametrize("kept", [0, 1, 2, 4, 8, 12, 16])
def test_a_full_disk_is_an_error_wherever_it_is_full(kept, tmp_path, monkeypatch):
    """torch's own writer reports any failed write as a wrong position in the file."""

    class Full(io.RawIOBase):
        writes = 0

        def writable(self):
            return True

        def write(self, data):
            self.writes += 1
            if self.writes > kept:
                raise OSError(errno.ENOSPC, "No space left on device")
            return len(data)

    layer, optimizer = _layer(1)
    path = tmp_path / "checkpoint.pt"
    with CheckpointWriter(path, RUN, layer, optimizer, CPU) as writer:
        writer.save(Progress(step=1))
    save = torch.save
    with monkeypatch.context() as patched:
        patched.setattr("torch.save", lambda content, file: save(content, Full()))
        writer = CheckpointWriter(path, RUN, layer, optimizer, CPU)
        writer.save(Progress(step=2))
        with pytest.raises(UserError, match=r"checkpoint\.pt: No space left on device; free space"):
            writer.wait()
    assert load_checkpoint(path, RUN, layer, optimizer).step == 1
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_the_error_of_training_is_raised_and_the_checkpoint_is_complete(tmp_path, gate):
    layer, optimizer = _layer()
    threading.Timer(0.2, gate.open.set).start()

    def fail():
        with CheckpointWriter(tmp_path / "checkpoint.pt", RUN, layer, optimizer, CPU) as writer:
            writer.save(Progress(step=7))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert load_checkpoint(tmp_path / "checkpoint.pt", RUN, layer, optimizer).step == 7


def test_a_folder_removed_during_training_is_named(photographs, tmp_path):
    folder = tmp_path / "runs" / "run"
    folder.mkdir(parents=True)
    training, steps = prepare(small_config("simclr", epochs=2), photographs, CPU), 0

    def on_step(stats):
        nonlocal steps
        steps += 1
        if steps == 5:
            while (tmp_path / "runs").exists():  # the thread may write a file at the same time
                shutil.rmtree(tmp_path / "runs", ignore_errors=True)
            assert not has_checkpoint(folder / "checkpoint.pt")

    with pytest.raises(UserError, match=f"folder {tmp_path / 'runs'} was removed during the run"):
        train(training, folder / "checkpoint.pt", folder / "log.jsonl", on_step, 0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("edited", [nn.Linear(3, 2), nn.Linear(2, 3), nn.Linear(3, 3, bias=False)])
def test_a_checkpoint_of_an_edited_method_is_one_line(edited, tmp_path):
    layer = nn.Linear(3, 3)
    optimizer = SGD(layer.parameters(), lr=0.1)
    content = {"run_id": RUN, "state": layer.state_dict(), "optimizer": optimizer.state_dict(), "progress": asdict(Progress())}
    write_checkpoint(tmp_path / "checkpoint.pt", content)
    with pytest.raises(UserError, match=f"does not fit the method, whose code has changed; delete {tmp_path} to train"):
        load_checkpoint(tmp_path / "checkpoint.pt", RUN, edited, SGD(edited.parameters(), lr=0.1))


def test_too_little_memory_for_a_checkpoint_is_not_taken_for_an_edited_method(tmp_path, monkeypatch):
    layer = nn.Linear(3, 3)
    optimizer = SGD(layer.parameters(), lr=0.1)
    content = {"run_id": RUN, "state": layer.state_dict(), "optimizer": optimizer.state_dict(), "progress": asdict(Progress())}
    write_checkpoint(tmp_path / "checkpoint.pt", content)

    def load(state):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(optimizer, "load_state_dict", load)
    with pytest.raises(torch.OutOfMemoryError):
        load_checkpoint(tmp_path / "checkpoint.pt", RUN, layer, optimizer)
