"""Time estimates of plans."""

import re

import pytest
import torch

import bench
from core.errors import UserError
from core.terminal import clock
from data.image_files import ImageFiles
from grid import time_estimate
from grid.options import GridOptions
from grid.plan import choose_parallelism, make_plan
from tests.folders import FILES, make_folder
from tests.runs import small_config
from training.prepare import prepare


@pytest.mark.parametrize(
    ("seconds", "text"), [(45, "45 s"), (300, "5 min"), (7800, "2 h 10 min"), (273_600, "3 d 4 h"), (0, "0 s")]
)
def test_durations_are_formatted(seconds, text):
    assert clock(seconds) == text


def test_image_files_are_timed_on_the_files_of_the_benchmark(tmp_path, monkeypatch, photographs):
    make_folder(tmp_path / "folderlt", photographs)
    plan = _plan(tmp_path, ["folderlt"])
    seen = []
    monkeypatch.setattr(time_estimate, "_seconds_per_image", lambda training: seen.append(training) or 0.001 * training.size(0))
    monkeypatch.setattr(time_estimate, "_hook_seconds", lambda training, samples: [0.0] * training.epochs)
    monkeypatch.setattr(time_estimate, "_seconds_per_feature", lambda training, images: 0.0)
    estimated = time_estimate.estimate(plan)
    size = plan.runs[0].config.recipe.sizes[0]
    assert estimated.seconds[0] == pytest.approx(23 * 0.001 * size, abs=0.01)  # and the probes
    images = seen[0].corpus.images
    assert isinstance(images, ImageFiles)
    widths = set(images.read().width.tolist())
    assert widths <= {40 + 3 * i for i in range(12)}  # of the photographs
    assert len(widths) > 1


def test_a_plan_whose_image_files_are_missing_has_no_estimate(tmp_path, photographs):
    make_folder(tmp_path / "folderlt", photographs)
    (tmp_path / "folderlt" / "train" / "class0" / "0.jpg").unlink()
    assert (
        time_estimate.estimate(_plan(tmp_path, ["folderlt"])).text == "none, without folderlt (variant own): files are missing"
    )


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        (["train/class0/0.jpg"], "1 of 47 images in the index files of folderlt is missing in {0}: train/class0/0.jpg; "),
        (["train/class0/0.jpg", "test/class1/2.jpg"], "2 of 47 images in the index files of folderlt are missing in {0}: "),
        ([FILES["test"]], "{0}/test.txt is missing, the test list of folderlt; put it there"),
        ([FILES["test"], FILES["pretrain"]], "2 index files of folderlt are missing in {0}: "),
    ],
)
def test_plan_states_what_is_missing_once_as_the_other_commands_do(tmp_path, photographs, capsys, mistake, gone, message):
    folder = tmp_path / "folderlt"
    make_folder(folder, photographs)
    for name in gone:
        (folder / name).unlink()
    words = ["--methods", "simclr", "--datasets", "folderlt", "--preset", "smoke", "--batch-size", "4", "--device", "cpu"]
    words += ["--data-root", str(tmp_path), "--out", str(tmp_path / "runs")]
    assert bench.main(["plan", *words]) == 2
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("MISSING DATA: "))
    assert line.startswith(f"MISSING DATA: folderlt (variant own): {message.format(folder)}")
    assert bench.main(["data", "folderlt", "--data-root", str(tmp_path)]) == 1
    said = line.removeprefix("MISSING DATA: folderlt (variant own): ")
    assert capsys.readouterr().out == f"ERROR folderlt: {said}\n"
    assert mistake(*words) == f"bench.py: {said}"


def test_missing_index_lists_are_reported_and_other_benchmarks_are_timed(tmp_path):
    plan = _plan(tmp_path, ["folderlt", "digitslt"])
    assert re.fullmatch(r"\d+ s, without folderlt \(variant own\): files are missing", time_estimate.estimate(plan).text)
    index_files, digits = plan.passports
    missing = f"2 index files of folderlt are missing in {tmp_path / 'folderlt'}"
    assert index_files.startswith(f"MISSING DATA: folderlt (variant own): {missing}")
    assert "; scikit-learn's digits, sha256 " in digits


def test_a_damaged_index_list_is_an_error(tmp_path, photographs):
    make_folder(tmp_path / "folderlt", photographs)
    plan = _plan(tmp_path, ["folderlt"])
    (tmp_path / "folderlt" / FILES["train"]).write_text("no label\n")
    for ask in (time_estimate.estimate, lambda plan: plan.passports):
        with pytest.raises(UserError, match=r"balanced_train\.txt, line 1"):
            ask(plan)


def _plan(root, datasets):
    return make_plan(
        GridOptions(methods=["simclr"], datasets=datasets, preset="smoke", epochs=1, batch_size=4, device="cpu", data_root=root)
    )


def test_an_estimate_grows_with_the_passes_of_the_probes(tmp_path, monkeypatch):
    monkeypatch.setattr(time_estimate, "_time_run", lambda *_: ([0.0], 0.01))  # seconds a feature
    monkeypatch.setattr(time_estimate, "clock", lambda seconds: f"{seconds}")
    cached, exact = (
        float(
            time_estimate.estimate(
                make_plan(GridOptions(datasets=["digitslt"], methods=["simclr"], out=tmp_path, device="cpu", probes=probes))
            ).text
        )
        for probes in (["ridge"], ["sdclr"])
    )
    assert exact > 20 * cached


def test_the_longest_runs_start_first_and_the_estimate_is_the_wall_time():
    seconds = {0: 10.0, 1: 40.0, 2: 20.0, 3: 30.0}
    shared = time_estimate.Estimate(seconds, jobs=2, untimed=0, missing={})
    assert shared.order([0, 1, 2, 3]) == [1, 3, 2, 0]
    assert shared.wall_seconds() == 50  # max(40 + 10, 30 + 20)
    assert shared.text == "50 s"
    alone = time_estimate.Estimate(seconds, jobs=1, untimed=0, missing={})
    assert alone.order([2, 0]) == [2, 0]
    assert alone.wall_seconds() == 100


@pytest.mark.parametrize(
    ("jobs", "threads", "cores", "device", "preset", "runs", "memory", "expected"),
    [
        (None, None, 2, "cpu", "cpu", 7, 24e9, (2, 1)),
        (None, None, 8, "cpu", "cpu", 3, 24e9, (3, 2)),  # cores are divided
        (None, None, 8, "cpu", "cpu", 1, 24e9, (1, 8)),
        (None, 2, 8, "cpu", "cpu", 7, 24e9, (4, 2)),
        (None, 16, 8, "cpu", "cpu", 7, 24e9, (1, 16)),
        (None, None, 8, "cpu", "smoke", 7, 24e9, (1, 8)),
        (None, None, 8, "cuda", "paper", 7, 24e9, (1, 8)),
        (3, None, 2, "cuda", "paper", 7, 24e9, (3, 1)),  # requested
        (4, 1, 2, "cpu", "cpu", 2, 24e9, (2, 1)),  # at most the number of runs
        (None, None, 64, "cpu", "cpu", 70, 24e9, (8, 8)),  # limited by memory
        (None, None, 2, "cpu", "cpu", 7, None, (2, 1)),
    ],
)
def test_parallelism_follows_cores_runs_and_memory(jobs, threads, cores, device, preset, runs, memory, expected):
    memory = memory and int(memory)
    assert choose_parallelism(jobs, threads, cores, torch.device(device), preset, runs, memory) == expected


def test_the_estimate_includes_epoch_hooks(monkeypatch):
    """The time of a hook that embeds all images is scaled to the size of the pretraining set; that of others is not."""
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
    assert time_estimate._hook_seconds(training, 6400) == [0.25, 25.0, 12.625]  # remaining epochs: the mean
