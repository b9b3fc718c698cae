from dataclasses import replace

import pytest
import torch

from data.benchmark import BENCHMARKS
from data.pictures import Pictures
from grid import eta, progress
from grid.eta import clock
from tests.runs import small_config
from training.loop import StepReport
from training.prepare import prepare


@pytest.fixture
def training():
    images = torch.zeros(64, 3, 16, 16, dtype=torch.uint8)
    return prepare(small_config("simclr", epochs=4, batch_size=32, sizes="8,16"), images, torch.device("cpu"))


def _percentages(training, epochs, monkeypatch, capsys):
    """What the bar shows after each step of the given epochs, in a file."""
    monkeypatch.setattr(progress, "QUIET_SECONDS", 0)
    with progress.training_bar(training) as report:
        for epoch in epochs:
            for _ in range(2):
                size = training.size(epoch)
                report(StepReport(epoch, 32, 32 * size * size, lambda: 1.25))
    lines = capsys.readouterr().err.splitlines()
    assert all(line.startswith("simclr on digitslt split 1 seed 0") for line in lines)
    assert f"epoch {epochs[-1] + 1}/4, loss 1.250, " in lines[-1]
    assert "images/s" in lines[-1]
    return [int(line.split("%")[0].split()[-1]) for line in lines]


def test_progress_counts_work_not_images(training, monkeypatch, capsys):
    """Two epochs at 8 px and two at 16 px: a fifth of the work is done after half of the images."""
    shown = _percentages(training, [0, 1, 2, 3], monkeypatch, capsys)
    assert 20 in shown
    assert shown[-1] == 100
    assert shown == sorted(shown)


def test_a_resumed_run_goes_on_where_it_was(training, monkeypatch, capsys):
    shown = _percentages(training, [2, 3], monkeypatch, capsys)
    assert min(shown) >= 20
    assert shown[-1] == 100


@pytest.mark.parametrize(
    ("seconds", "text"), [(45, "45 s"), (300, "5 min"), (7800, "2 h 10 min"), (273_600, "3 d 4 h"), (0, "0 s")]
)
def test_durations_for_people(seconds, text):
    assert clock(seconds) == text


def test_decoding_is_timed_where_images_are_files(tmp_path, monkeypatch):
    config = small_config("simclr", epochs=3, batch_size=8, sizes="16,24")
    config = replace(config, dataset="imagenet100lt", profile="sdclr")
    seen = []
    monkeypatch.setattr(eta, "_seconds_per_image", lambda training: seen.append(training) or 0.001 * training.size(0))
    epochs, probing = eta._time_run(config, torch.device("cpu"), tmp_path, tmp_path)
    assert epochs == pytest.approx([12_205 * 0.016, 12_205 * 0.016, 12_205 * 0.024], rel=1e-6)
    assert probing > BENCHMARKS["imagenet100lt"].labelled_images * eta.PROBE_SECONDS
    images = seen[0].corpus.images
    assert isinstance(images, Pictures)
    assert set(images[:1].read().width.tolist()) == {eta.PICTURE[0]}


def test_a_set_whose_size_only_its_lists_tell_has_no_estimate_without_them(tmp_path, caplog):
    config = replace(small_config("simclr"), dataset="folderlt", profile="own")
    assert eta._try_to_time(config, torch.device("cpu"), tmp_path) is None
    assert "no estimate for simclr" in caplog.text
