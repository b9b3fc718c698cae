"""The progress bar of training."""

import pytest
import torch
from tqdm import tqdm

from tests.runs import small_config
from training import progress
from training.loop import StepStats
from training.prepare import prepare


@pytest.fixture
def training():
    images = torch.zeros(64, 3, 16, 16, dtype=torch.uint8)
    return prepare(small_config("simclr", epochs=4, batch_size=32, sizes="8,16"), images, torch.device("cpu"))


def _percentages(training, epochs, monkeypatch, capsys):
    """Percentages of the bar after each step of the given epochs, without a terminal."""
    monkeypatch.setattr(progress, "LINE_SECONDS", 0)
    with progress.training_bar(training) as report:
        for epoch in epochs:
            for _ in range(2):
                size = training.size(epoch)
                report(StepStats(epoch, 32, 32 * size * size, lambda: 1.25))
    lines = capsys.readouterr().err.splitlines()
    assert all(line.startswith("simclr on digitslt split 1 seed 0") for line in lines)
    assert f"epoch {epochs[-1] + 1}/4, loss 1.250, " in lines[-1]
    assert "images/s" in lines[-1]
    return [int(line.split("%")[0].split()[-1]) for line in lines]


def test_progress_counts_pixels_not_images(training, monkeypatch, capsys):
    """Two epochs at 8 px and two at 16 px: half of the images are a fifth of the pixels."""
    shown = _percentages(training, [0, 1, 2, 3], monkeypatch, capsys)
    assert 20 in shown
    assert shown[-1] == 100
    assert shown == sorted(shown)


def test_the_bar_of_a_resumed_run_starts_at_its_progress(training, monkeypatch, capsys):
    shown = _percentages(training, [2, 3], monkeypatch, capsys)
    assert min(shown) >= 20
    assert shown[-1] == 100


def test_without_a_terminal_no_other_thread_prints_the_bar(training):
    """tqdm's monitor thread redraws a bar that has not been drawn for 10 s, with its old text, where `miniters` is above 1."""
    with progress.training_bar(training) as report:
        for _ in range(2):
            report(StepStats(0, 32, 32 * 64, lambda: 1.25))
        assert [bar.miniters for bar in tqdm._instances] == [1]
