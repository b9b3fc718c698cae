"""How far a run is, and how long a plan will take."""

import re
from dataclasses import replace

import pytest
import torch

from core.errors import UserError
from data.pictures import Pictures
from grid import eta, progress
from grid.eta import clock
from grid.plan import make_plan
from grid.request import Request
from grid.there import DataThere
from tests.folders import FILES, make_folder
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
    counts = eta._counts(config, DataThere(tmp_path))
    epochs, feature = eta._time_run(config, torch.device("cpu"), counts, tmp_path)
    assert epochs == pytest.approx([12_205 * 0.016, 12_205 * 0.016, 12_205 * 0.024], rel=1e-4)  # and the hook
    assert 1e-4 < feature < 1  # seconds: a photograph is decoded for it
    images = seen[0].corpus.images
    assert isinstance(images, Pictures)
    assert set(images[:1].read().width.tolist()) == {eta.PICTURE[0]}


def test_a_set_whose_size_only_its_lists_tell_has_no_estimate_without_them(tmp_path):
    """Neither does it hide what can be timed."""
    plan = _plan(tmp_path, ["folderlt", "digitslt"])
    assert re.fullmatch(r"\d+ s, without folderlt \(profile own\): not there yet", eta.estimate(plan).text)
    no_passport, digits = plan.passports
    assert no_passport.startswith(f"NO PASSPORT: folderlt, profile own: {tmp_path / 'folderlt' / 'lt_train.txt'} is missing")
    assert "; scikit-learn's digits, sha256 " in digits


def test_a_mistake_in_a_list_is_not_taken_for_a_missing_estimate(tmp_path, photographs):
    make_folder(tmp_path / "folderlt", photographs)
    plan = _plan(tmp_path, ["folderlt"])
    (tmp_path / "folderlt" / FILES["train"]).write_text("no label\n")
    for ask in (eta.estimate, lambda plan: plan.passports):
        with pytest.raises(UserError, match=r"balanced_train\.txt, line 1"):
            ask(plan)


def _plan(root, datasets):
    return make_plan(
        Request(methods=["simclr"], datasets=datasets, preset="smoke", epochs=1, batch_size=4, device="cpu", data_root=root)
    )


def test_an_estimate_grows_with_what_the_probes_have_to_pass_through_the_network(tmp_path, monkeypatch):
    monkeypatch.setattr(eta, "_time_run", lambda *_: ([0.0], 0.01))  # seconds a feature
    monkeypatch.setattr(eta, "clock", lambda seconds: f"{seconds}")
    quick, literal = (
        float(
            eta.estimate(
                make_plan(Request(datasets=["digitslt"], methods=["simclr"], out=tmp_path, device="cpu", probes=probes))
            ).text
        )
        for probes in (["ridge"], ["sdclr"])
    )
    assert literal > 20 * quick
