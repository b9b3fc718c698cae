"""Training resumes bit-identically after any stop, and stops at non-finite values."""

import json

import pytest
import torch

from core.errors import UserError
from methods import METHODS
from tests.runs import EVERY_METHOD, small_config
from training.checkpoint import load_checkpoint, read_checkpoint
from training.checkpoint_writer import CheckpointWriter
from training.loop import Diverged, train
from training.prepare import prepare


class Stop(Exception):
    """Simulates a kill after a given step."""


@pytest.fixture(autouse=True)
def _no_checkpoint_is_skipped(monkeypatch):
    """With 0 seconds between checkpoints, one is written after every step: training waits for the one before."""
    monkeypatch.setattr(CheckpointWriter, "ready", lambda self: self.wait() is None)


def _run(config, images, folder, stop_after=None, checkpoint_seconds=0.0):
    folder.mkdir(exist_ok=True)
    training = prepare(config, images, torch.device("cpu"), pool=images.numpy())
    steps = 0

    def report(step):
        nonlocal steps
        steps += 1
        if steps == stop_after:
            raise Stop

    progress = train(training, folder / "checkpoint.pt", folder / "log.jsonl", report, checkpoint_seconds)
    return training, progress


def _same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


@pytest.mark.parametrize("stop_after", [1, 5, 8, 9, 15])  # 8 steps an epoch: in the middle, at and past its end
@pytest.mark.parametrize("name", EVERY_METHOD)
def test_a_resumed_run_is_bit_identical(name, stop_after, photographs, tmp_path):
    config = small_config(name)
    whole, _ = _run(config, photographs, tmp_path / "whole", checkpoint_seconds=1e9)
    with pytest.raises(Stop):
        _run(config, photographs, tmp_path / "stopped", stop_after)
    resumed, progress = _run(config, photographs, tmp_path / "stopped")
    assert _same(whole.state, resumed.state)
    assert progress.images == resumed.images(0) + resumed.images(1)
    logs = [[json.loads(x) for x in (tmp_path / d / "log.jsonl").read_text().splitlines()] for d in ("whole", "stopped")]
    assert [line["epoch"] for line in logs[1]] == [1, 2]
    assert logs[0][1]["loss"] == pytest.approx(logs[1][1]["loss"], rel=1e-6)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "muon"])
def test_every_optimizer_resumes(optimizer, photographs, tmp_path):
    config = small_config("simclr", optimizer=optimizer, schedule="linear", weight_decay=0.05)
    whole, _ = _run(config, photographs, tmp_path / "whole", checkpoint_seconds=1e9)
    with pytest.raises(Stop):
        _run(config, photographs, tmp_path / "stopped", stop_after=5)
    resumed, _ = _run(config, photographs, tmp_path / "stopped")
    assert _same(whole.state, resumed.state)


def test_random_numbers_of_hooks_are_resumed(photographs, tmp_path, monkeypatch):
    declared = METHODS["simclr"]
    drawn: list[float] = []
    monkeypatch.setattr(declared, "on_epoch_start", lambda self, epoch, corpus: drawn.append(torch.rand(()).item()))
    monkeypatch.setattr(declared, "after_step", lambda self, step: drawn.append(torch.rand(()).item()))
    config = small_config("simclr")
    _run(config, photographs, tmp_path / "whole")
    whole, drawn = drawn, []
    with pytest.raises(Stop):
        _run(config, photographs, tmp_path / "stopped", stop_after=8)
    _run(config, photographs, tmp_path / "stopped")
    assert sorted(set(drawn)) == sorted(whole)  # repeated steps draw the same numbers


def test_a_stop_saves_a_checkpoint(photographs, tmp_path):
    config = small_config("simclr")
    training = prepare(config, photographs, torch.device("cpu"))
    files = tmp_path / "checkpoint.pt", tmp_path / "log.jsonl"
    with pytest.raises(KeyboardInterrupt):
        train(training, *files, lambda step: None, checkpoint_seconds=1e9, stop=lambda: True)
    assert read_checkpoint(files[0], config.run_id)["progress"].step == 1


def test_a_run_stopped_at_the_end_of_an_epoch_logs_no_speed_of_it(photographs, tmp_path):
    config, steps, cpu = small_config("simclr"), [], torch.device("cpu")
    files = tmp_path / "checkpoint.pt", tmp_path / "log.jsonl"
    with pytest.raises(KeyboardInterrupt):
        train(prepare(config, photographs, cpu), *files, steps.append, checkpoint_seconds=1e9, stop=lambda: len(steps) == 8)
    train(prepare(config, photographs, cpu), *files, steps.append, checkpoint_seconds=1e9)
    speeds = [json.loads(line)["images_per_second"] for line in files[1].read_text().splitlines()]
    assert speeds[0] is None
    assert speeds[1] > 0


def test_checkpoint_seconds_limits_the_checkpoints(photographs, tmp_path):
    config = small_config("simclr")
    with pytest.raises(Stop):
        _run(config, photographs, tmp_path / "rare", stop_after=15, checkpoint_seconds=1e9)
    assert not (tmp_path / "rare" / "checkpoint.pt").exists()


def test_training_does_not_depend_on_the_global_generator(photographs, tmp_path):
    config = small_config("simclr", epochs=1)
    torch.manual_seed(1)
    first, _ = _run(config, photographs, tmp_path / "a")
    torch.manual_seed(2)
    second, _ = _run(config, photographs, tmp_path / "b")
    assert _same(first.method, second.method)


def test_a_damaged_checkpoint_is_an_error(photographs, tmp_path):
    config = small_config("simclr", epochs=1)
    training, _ = _run(config, photographs, tmp_path / "run")
    path = tmp_path / "run" / "checkpoint.pt"
    content = path.read_bytes()
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 1
    for damaged in (content[:-100], bytes(flipped), b"", b"not a checkpoint"):
        for file in (path, path.with_name("checkpoint.previous.pt")):
            file.write_bytes(damaged)
        with pytest.raises(UserError, match=r"checkpoint\.pt is damaged or of an older version; delete"):
            load_checkpoint(path, config.run_id, training.method, training.optimizer)


@pytest.mark.parametrize("damage", ["truncated", "missing"])
def test_a_run_resumes_from_the_checkpoint_before_a_damaged_one(photographs, tmp_path, damage, caplog):
    """`missing`: a kill between renaming the last checkpoint and writing the next one."""
    config = small_config("byol")
    whole, _ = _run(config, photographs, tmp_path / "whole", checkpoint_seconds=1e9)
    with pytest.raises(Stop):
        _run(config, photographs, tmp_path / "run", stop_after=7)  # a checkpoint after every step before
    last, previous = tmp_path / "run" / "checkpoint.pt", tmp_path / "run" / "checkpoint.previous.pt"
    if damage == "truncated":
        last.write_bytes(last.read_bytes()[:-100])
    else:
        last.unlink()
    assert read_checkpoint(previous, config.run_id)["progress"].step == 5
    with pytest.raises(Stop):
        _run(config, photographs, tmp_path / "run", stop_after=2)
    assert ("resumes from the checkpoint before it" in caplog.text) == (damage == "truncated")
    steps = [read_checkpoint(file, config.run_id)["progress"].step for file in (previous, last)]
    assert steps == [5, 6]  # the damaged one has not become the one before the next
    resumed, progress = _run(config, photographs, tmp_path / "run")
    assert _same(resumed.state, whole.state)
    assert progress.images == resumed.images(0) + resumed.images(1)


def test_a_checkpoint_of_another_configuration_is_an_error(photographs, tmp_path):
    _run(small_config("simclr", epochs=1), photographs, tmp_path / "run")
    with pytest.raises(UserError, match="belongs to run"):
        read_checkpoint(tmp_path / "run" / "checkpoint.pt", small_config("simclr", epochs=3).run_id)


def test_a_checkpoint_cannot_run_code(tmp_path):
    path = tmp_path / "checkpoint.pt"
    torch.save({"run_id": "x", "method": Stop}, path)
    with pytest.raises(UserError, match="is damaged"):
        read_checkpoint(path, "x")


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_non_finite_values_stop_the_run_before_a_checkpoint(what, photographs, tmp_path, monkeypatch):
    config = small_config("simclr")
    declared = METHODS["simclr"]
    original = declared.loss

    def poisoned(self, batch):
        output = original(self, batch)
        if what == "loss":
            return type(output)(output.loss * torch.nan, output.scores)
        output.loss.register_hook(lambda gradient: gradient * torch.inf)
        return output

    monkeypatch.setattr(declared, "loss", poisoned)
    message = rf"the {what} is not finite at epoch 1, step 1 \(1 of the last 1 steps\); lower the learning rate"
    with pytest.raises(Diverged, match=message):
        _run(config, photographs, tmp_path / "run")
    assert not (tmp_path / "run" / "checkpoint.pt").exists()


@pytest.mark.parametrize(("broken", "what"), [("loss", "loss"), ("gradient", "gradient")])
def test_non_finite_values_between_two_checks_are_counted(broken, what, photographs, tmp_path, monkeypatch):
    """Of 20 steps, the weights are not finite from the sixth on: what was not finite first is named."""
    monkeypatch.setattr("training.loop.step", _made_steps([1.0] * 20, broken, first=5))
    with pytest.raises(Diverged, match=rf"the {what} is not finite at epoch 1, step 20 \(15 of the last 20 steps\)"):
        _run(small_config("simclr", batch_size=8, lr=2.5e-4), photographs, tmp_path / "run", checkpoint_seconds=1e9)


STEADY = [2.0] * 60
SPIKES = {
    "none": (STEADY, 0),
    "one": ([*STEADY[:40], 9.0, *STEADY[41:]], 1),
    "two in a row": ([*STEADY[:40], 9.0, 9.0, *STEADY[42:]], 2),
    "before the warm-up ends": ([*STEADY[:10], 9.0, *STEADY[11:]], 0),
    "a step of the view size": ([*STEADY[:40], *[4.0] * 20], 0),
    "slow rise": ([2 * 1.05**number for number in range(60)], 0),
    "fall to zero": ([2 * 0.8**number for number in range(60)], 0),
    "negative": ([-2.0] * 60, 0),
    "negative with a spike": ([*[-2.0] * 40, 9.0, *[-2.0] * 19], 1),
}


@pytest.mark.parametrize("kind", SPIKES)
def test_loss_spikes_are_counted_and_resumed(kind, photographs, tmp_path, monkeypatch):
    losses, expected = SPIKES[kind]
    monkeypatch.setattr("training.loop.step", _made_steps(losses))
    config = small_config("simclr", batch_size=8, lr=2.5e-4)  # 32 steps an epoch
    _run(config, photographs[:240], tmp_path / "whole", checkpoint_seconds=1e9)
    with pytest.raises(Stop):
        _run(config, photographs[:240], tmp_path / "stopped", stop_after=42)
    _run(config, photographs[:240], tmp_path / "stopped", checkpoint_seconds=1e9)
    for folder in ("whole", "stopped"):
        lines = [json.loads(line) for line in (tmp_path / folder / "log.jsonl").read_text().splitlines()]
        assert sum(line.get("loss_spikes", 0) for line in lines) == expected
        assert all(line.get("loss_spikes") != 0 for line in lines)


def _made_steps(losses, broken="", first=-1):
    """Replaces `training.loop.step`: the loss of each step, of which `broken` is not finite from step `first` on."""

    def step(training, batch, number):
        loss, gradient = torch.tensor(losses[number]), torch.tensor(1.0)
        if broken and number >= first:
            gradient = gradient * torch.inf
            if broken == "loss" or number > first:
                loss = loss * torch.nan
        return loss, gradient

    return step


def test_bf16_trains_too(photographs, tmp_path):
    _, progress = _run(small_config("simclr", precision="bf16", epochs=1), photographs, tmp_path / "run")
    assert progress.images == len(photographs)
