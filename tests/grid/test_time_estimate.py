"""How long a plan will take."""

import re
from dataclasses import replace

import pytest
import torch

from core.errors import UserError
from data.cache import DataCache
from data.image_files import ImageFiles
from grid import time_estimate
from grid.options import Request
from grid.plan import make_plan, share_cores
from grid.time_estimate import clock
from tests.folders import FILES, make_folder
from tests.runs import small_config
from training.prepare import prepare


@pytest.mark.parametrize(
    ("seconds", "text"), [(45, "45 s"), (300, "5 min"), (7800, "2 h 10 min"), (273_600, "3 d 4 h"), (0, "0 s")]
)
def test_durations_for_people(seconds, text):
    assert clock(seconds) == text


def test_decoding_is_timed_where_images_are_files(tmp_path, monkeypatch):
    config = small_config("simclr", epochs=3, batch_size=8, sizes="16,24")
    config = replace(config, dataset="imagenet100lt", profile="sdclr")
    seen = []
    monkeypatch.setattr(time_estimate, "_seconds_per_image", lambda training: seen.append(training) or 0.001 * training.size(0))
    counts = time_estimate._counts(config, DataCache(tmp_path))
    epochs, feature = time_estimate._time_run(config, torch.device("cpu"), counts, tmp_path)
    assert epochs == pytest.approx([12_205 * 0.016, 12_205 * 0.016, 12_205 * 0.024], rel=1e-4)  # and the hook
    assert 1e-4 < feature < 1  # seconds: a photograph is decoded for it
    images = seen[0].corpus.images
    assert isinstance(images, ImageFiles)
    assert set(images[:1].read().width.tolist()) == {time_estimate.PICTURE[0]}


def test_a_set_whose_size_only_its_lists_tell_has_no_estimate_without_them(tmp_path):
    """Neither does it hide what can be timed."""
    plan = _plan(tmp_path, ["folderlt", "digitslt"])
    assert re.fullmatch(r"\d+ s, without folderlt \(profile own\): not there yet", time_estimate.estimate(plan).text)
    no_passport, digits = plan.passports
    assert no_passport.startswith(f"NO PASSPORT: folderlt, profile own: {tmp_path / 'folderlt' / 'lt_train.txt'} is missing")
    assert "; scikit-learn's digits, sha256 " in digits


def test_a_mistake_in_a_list_is_not_taken_for_a_missing_estimate(tmp_path, photographs):
    make_folder(tmp_path / "folderlt", photographs)
    plan = _plan(tmp_path, ["folderlt"])
    (tmp_path / "folderlt" / FILES["train"]).write_text("no label\n")
    for ask in (time_estimate.estimate, lambda plan: plan.passports):
        with pytest.raises(UserError, match=r"balanced_train\.txt, line 1"):
            ask(plan)


def _plan(root, datasets):
    return make_plan(
        Request(methods=["simclr"], datasets=datasets, preset="smoke", epochs=1, batch_size=4, device="cpu", data_root=root)
    )


def test_an_estimate_grows_with_what_the_probes_have_to_pass_through_the_network(tmp_path, monkeypatch):
    monkeypatch.setattr(time_estimate, "_time_run", lambda *_: ([0.0], 0.01))  # seconds a feature
    monkeypatch.setattr(time_estimate, "clock", lambda seconds: f"{seconds}")
    quick, literal = (
        float(
            time_estimate.estimate(
                make_plan(Request(datasets=["digitslt"], methods=["simclr"], out=tmp_path, device="cpu", probes=probes))
            ).text
        )
        for probes in (["ridge"], ["sdclr"])
    )
    assert literal > 20 * quick


def test_processes_take_the_longest_runs_first_and_the_estimate_is_until_the_last_ends():
    seconds = {0: 10.0, 1: 40.0, 2: 20.0, 3: 30.0}
    shared = time_estimate.Estimate(seconds, jobs=2, untimed=0, unknown=[])
    assert shared.order([0, 1, 2, 3]) == [1, 3, 2, 0]
    assert shared.wall() == 50  # 40 + 10 beside 30 + 20
    assert shared.text == "50 s"
    alone = time_estimate.Estimate(seconds, jobs=1, untimed=0, unknown=[])
    assert alone.order([2, 0]) == [2, 0]
    assert alone.wall() == 100


@pytest.mark.parametrize(
    ("jobs", "threads", "cores", "device", "preset", "runs", "memory", "expected"),
    [
        (None, None, 2, "cpu", "cpu", 7, 24e9, (2, 1)),
        (None, None, 8, "cpu", "cpu", 3, 24e9, (3, 2)),  # the cores are shared out
        (None, None, 8, "cpu", "cpu", 1, 24e9, (1, 8)),
        (None, 2, 8, "cpu", "cpu", 7, 24e9, (4, 2)),
        (None, 16, 8, "cpu", "cpu", 7, 24e9, (1, 16)),
        (None, None, 8, "cpu", "smoke", 7, 24e9, (1, 8)),
        (None, None, 8, "cuda", "paper", 7, 24e9, (1, 8)),
        (3, None, 2, "cuda", "paper", 7, 24e9, (3, 1)),  # as asked
        (4, 1, 2, "cpu", "cpu", 2, 24e9, (2, 1)),  # no more than there are runs
        (None, None, 64, "cpu", "cpu", 70, 24e9, (8, 8)),  # no more than memory has room for
        (None, None, 2, "cpu", "cpu", 7, None, (2, 1)),
    ],
)
def test_cores_are_shared_out_to_processes(jobs, threads, cores, device, preset, runs, memory, expected):
    memory = memory and int(memory)
    assert share_cores(jobs, threads, cores, torch.device(device), preset, runs, memory) == expected


def test_what_a_method_does_before_an_epoch_is_in_the_estimate(monkeypatch):
    """Where it looks at all images its time is that of the real set; where it does not, it is taken as it is."""
    images = torch.zeros(64, 3, 16, 16, dtype=torch.uint8)
    training = prepare(small_config("simclr", epochs=3, batch_size=32), images, torch.device("cpu"))
    clock_now = [0.0]
    monkeypatch.setattr(time_estimate.time, "monotonic", lambda: clock_now[0])

    def hook(epoch, corpus):
        clock_now[0] += 0.25
        if epoch == 1:
            list(corpus.embed(training.method.project, corpus.images))

    monkeypatch.setattr(training.method, "on_epoch_start", hook)
    assert time_estimate._hook_seconds(training, 6400) == [0.25, 25.0, 0.25]
    monkeypatch.setattr(time_estimate, "HOOK_SECONDS", 0.4)
    assert time_estimate._hook_seconds(training, 6400) == [0.25, 25.0, 12.625]  # the rest at the mean of what was timed
