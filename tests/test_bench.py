"""The command line as a user meets it."""

import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import bench
from core.errors import UserError
from data.benchmarks.digitslt import DigitsLT
from grid.gallery import views_of
from methods import METHODS
from tests.conftest import ROOT
from training.loop import Diverged

SMALL = ("--datasets", "digitslt", "--preset", "smoke", "--precision", "fp32", "--epochs", "2", "--batch-size", "64")
SMALL += ("--device", "cpu")


def _progress(out):
    """Where the one run under `out` is, by its checkpoint."""
    checkpoints = list(out.glob("*/checkpoint.pt"))
    return torch.load(checkpoints[0], weights_only=True)["progress"] if checkpoints else {"epoch": -1, "step": 0}


def _weights(out):
    (file,) = out.glob("*/weights.safetensors")
    return load_file(file)


def test_help_needs_no_torch():
    code = "import bench, sys; bench.main(['--help']); print('torch' in sys.modules)"
    finished = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert "--methods" in finished.stdout
    assert "doctor" in finished.stdout
    assert finished.stdout.splitlines()[-1] == "False"


def test_the_grid_runs_is_skipped_when_done_and_is_tabled(tmp_path, capsys):
    out = tmp_path / "runs"
    asked = [*SMALL, "--methods", "simclr", "byol", "--splits", "1", "2", "--out", str(out)]
    assert bench.main(asked) == 0
    printed = capsys.readouterr()
    assert "4 runs" in printed.out
    assert "estimated time" in printed.out
    assert "SimCLR" in printed.out
    assert "smoke-scale numbers" in printed.out
    folders = sorted(out.glob("digitslt-*"))
    assert len(folders) == 4
    for folder in folders:
        assert {file.name for file in folder.iterdir()} == {
            ".lock", "config.json", "passport.txt", "log.jsonl", "weights.safetensors", "training.json",
            "tail_scores.npy", "results.jsonl", "done",
        }  # fmt: skip
        records = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
        assert {record["probe"] for record in records} == {"knn", "ridge", "sdclr-cached", "sdclr-cached-1pct"}
        assert all(record["preset"] == "smoke" and record["run_id"] == folder.name[-12:] for record in records)
        assert all(len(record["class_accuracy"]) == 10 for record in records)
    tables = {file.name: file.read_text() for file in (out / "tables").iterdir()}
    assert len([name for name in tables if name.endswith(".tex")]) == 4

    before = {file: file.stat().st_mtime_ns for folder in folders for file in folder.iterdir()}
    assert bench.main([*asked, "--checkpoint-seconds", "5"]) == 0
    assert "estimated time" not in capsys.readouterr().out
    assert before == {file: file.stat().st_mtime_ns for folder in folders for file in folder.iterdir()}

    (out / "tables" / "results.csv").unlink()
    assert bench.main(["report", "--out", str(out)]) == 0
    assert {file.name: file.read_text() for file in (out / "tables").iterdir()} == tables

    assert bench.main(["plan", *asked]) == 0
    assert "4 DONE, 0 RESUMABLE, 0 NEW; estimated time: 0 s" in capsys.readouterr().out


def test_a_finished_run_takes_another_probe_without_training(tmp_path, monkeypatch):
    asked = [*SMALL, "--methods", "simclr", "--out", str(tmp_path)]
    assert bench.main([*asked, "--probes", "knn"]) == 0
    monkeypatch.setattr("grid.execute.train", None)
    assert bench.main([*asked, "--probes", "all"]) == 0
    (results,) = tmp_path.glob("*/results.jsonl")
    assert [json.loads(line)["probe"] for line in results.read_text().splitlines()] == [
        "knn",
        "sdclr-cached",
        "sdclr-cached-1pct",
        "ridge",
    ]


def test_zero_epochs_probe_the_untrained_network(tmp_path, capsys):
    asked = ["--datasets", "digitslt", "--preset", "smoke", "--methods", "simclr", "--epochs", "0", "--out", str(tmp_path)]
    assert bench.main([*asked, "--probes", "knn"]) == 0
    assert "Untrained networks." in capsys.readouterr().out
    (results,) = tmp_path.glob("*/results.jsonl")
    record = json.loads(results.read_text())
    assert (record["epochs"], record["images_per_second"]) == (0, None)


def test_one_failed_run_does_not_stop_the_grid(tmp_path, monkeypatch, capsys, caplog):
    def fail(self, batch):
        raise RuntimeError("out of luck")

    monkeypatch.setattr(METHODS["byol"], "loss", fail)
    assert bench.main([*SMALL, "--methods", "byol", "simclr", "--out", str(tmp_path)]) == 1
    printed = capsys.readouterr()
    assert "FAILED digitslt-byol-split1-seed0-" in printed.err
    assert "no estimate for byol: RuntimeError: out of luck" in caplog.text
    assert "SimCLR" in printed.out
    (error,) = tmp_path.glob("*/error.txt")
    assert "in fail" in error.read_text()
    assert len(list(tmp_path.glob("*/done"))) == 1


def test_when_every_run_fails_the_reasons_are_told(tmp_path, monkeypatch, capsys):
    def fail(self, batch):
        raise Diverged("the loss is not finite")

    monkeypatch.setattr(METHODS["simclr"], "loss", fail)
    assert bench.main([*SMALL, "--methods", "simclr", "--out", str(tmp_path)]) == 1
    assert "the loss is not finite" in capsys.readouterr().err.splitlines()[-1]
    assert len(list(tmp_path.glob("*/error.txt"))) == 1


def test_other_hyper_parameters_get_a_row_of_their_own(tmp_path, capsys):
    asked = [*SMALL, "--methods", "simclr", "--probes", "knn", "--out", str(tmp_path)]
    assert bench.main(asked) == 0
    assert bench.main([*asked, "--set", "simclr.temperature=0.5"]) == 0
    capsys.readouterr()
    assert bench.main(["report", "--out", str(tmp_path)]) == 0
    rows = [line.split("  ")[0] for line in capsys.readouterr().out.splitlines() if line.startswith("SimCLR")]
    assert rows == ["SimCLR", "SimCLR (temperature=0.5)"]


def test_ctrl_c_saves_a_checkpoint_first(tmp_path):
    asked = ["--datasets", "digitslt", "--preset", "smoke", "--methods", "simclr", "--epochs", "500", "--workers", "1"]
    start = [sys.executable, str(ROOT / "bench.py"), *asked, "--checkpoint-seconds", "1e9", "--out", str(tmp_path)]
    running = subprocess.Popen(start, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not any(log.read_text() for log in tmp_path.glob("*/log.jsonl")):
        time.sleep(0.01)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 130
    assert said.splitlines()[-1] == "bench.py: stopped; the same command goes on from here"
    assert _progress(tmp_path)["images"] > 0


def test_a_run_killed_in_the_middle_of_an_epoch_ends_with_the_same_bits(tmp_path):
    """SIGKILL, then the same command: weights equal those of a run that was left alone."""
    asked = ["--datasets", "digitslt", "--preset", "smoke", "--precision", "fp32", "--methods", "byol", "--workers", "1"]
    asked += ["--device", "cpu"]
    asked += ["--epochs", "14", "--batch-size", "16", "--checkpoint-seconds", "0", "--probes", "knn", "--out"]
    start = [sys.executable, str(ROOT / "bench.py"), *asked]
    killed, alone = tmp_path / "killed", tmp_path / "alone"
    kills = 0
    for earliest in (1, 5):
        running = subprocess.Popen([*start, str(killed)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and running.poll() is None:
            running.send_signal(signal.SIGSTOP)  # so that it is killed exactly where it was seen
            if _progress(killed)["epoch"] >= earliest and _progress(killed)["step"] > 0:
                running.kill()
                kills += 1
                break
            running.send_signal(signal.SIGCONT)
            time.sleep(0.02)
        running.wait(timeout=60)
    assert kills == 2
    assert 5 <= _progress(killed)["epoch"] < 14
    assert _progress(killed)["step"] > 0
    for out in (killed, alone):
        subprocess.run([*start, str(out)], check=True, capture_output=True, timeout=300)
    first, second = _weights(killed), _weights(alone)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--methods", "simcrl"], "no method matches 'simcrl'; did you mean 'simclr'?"),
        (["--datasets", "cifar10-lt"], "no dataset matches 'cifar10-lt'; did you mean 'cifar10lt'?"),
        (["--probes", "sdclr_cached"], "did you mean 'sdclr-cached'?"),
        (["--backbone", "resnet81"], "did you mean 'resnet18'?"),
        (["--backbone", "vgg11_bn"], "backbone 'vgg11_bn' cannot take images of"),
        (["--epochs", "3", "--set", "recipe.warmup_epochs=5"], "leaves nothing of 3 epochs"),
        (["--set", "simclr.temprature=1"], "did you mean 'temperature'?"),
        (["--methods", "colt", "--set", "colt.pool=emojis"], "no pool is named 'emojis'; did you mean 'emoji'"),
        (["--methods", "colt", "--set", "colt.pool=emoji", "colt.budget=4000"], "samples 4000 images and its pool has 3786"),
        (["--methods", "tase", "--set", "tase.warmup=100%"], "tase.warmup=100% leaves nothing of 34 epochs"),
        (["--methods", "tase", "--set", "tase.clusterer=gh", "tase.clusters=200"], "gh has room for 128 clusters, not for 200"),
        (["--methods", "sdclr", "--backbone", "resnet50_gn"], "SDCLR needs a backbone with convolutions and batch norm"),
        (["--set", "simclr.temperature=hot"], "simclr.temperature=hot is not of the form float|cosine:LOW:HIGH:PERIOD"),
        (["--set", "simclr.temperature"], "is not of the form METHOD.KEY=VALUE"),
        (["--set", "simlcr.temperature=1"], "no method is named 'simlcr'; did you mean 'simclr'?"),
        (["--methods", "simclr", "--set", "byol.momentum=0.5"], "method 'byol' is not among --methods simclr"),
        (["--set", "recipe.epoch=3"], "recipe has no setting 'epoch'; did you mean 'epochs'?"),
        (["--splits", "1001"], "has splits 1 to 1000, not 1001"),
        (["--splits", "one"], "--splits"),
        (["--profile", "coa"], "cifar10lt has no profile 'coa'; did you mean 'cao'?"),
        (["--profile", "ir=5000"], "leaves the smallest of 10 classes empty"),
        (["list", "--profile", "cao"], "add --passport"),
        (["list", "--passport", "--splits", "0"], "has splits 1 to 1000, not 0"),
        (["--batch-size", "99999"], "batch size 99999 is larger than cifar10lt's 11165 images"),
        (["--epochs", "-1"], "recipe.epochs=-1 is out of range"),
        (["--preset", "gpu"], "--preset"),
        (["--device", "tpu"], "no device is named 'tpu'"),
        (["--workers", "0"], "--workers 0"),
        (["--epoch", "3"], "--epoch"),
        (["plann"], "did you mean 'plan'?"),
        (["report", "--out", "nowhere"], "there is no folder nowhere"),
    ],
)
def test_mistakes_get_one_line_and_status_2(mistake, arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert message in mistake(*arguments)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_told(mistake):
    assert "finds no CUDA GPU; use --device cpu" in mistake("--device", "cuda")


def test_an_out_that_cannot_be_written_is_told(mistake, tmp_path):
    (tmp_path / "file").write_text("")
    assert "choose another folder with --out" in mistake(*SMALL, "--out", tmp_path / "file" / "runs")


def test_data_that_cannot_be_had_is_told_before_anything_runs(tmp_path, monkeypatch, capsys):
    def unreachable(self, data_root):
        raise UserError("no data")

    monkeypatch.setattr(DigitsLT, "load", unreachable)
    assert bench.main([*SMALL, "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err.strip() == "bench.py: no data"
    assert list(tmp_path.glob("digitslt*")) == []


@pytest.mark.parametrize("damage", ["truncated", "foreign"])
def test_a_bad_checkpoint_is_told_and_kept(mistake, tmp_path, damage, monkeypatch):
    asked = [*SMALL, "--methods", "simclr", "--probes", "knn", "--out", tmp_path]

    def stop(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("grid.store.RunFolder.save_trained", stop)
        assert bench.main([str(word) for word in asked]) == 130
    (checkpoint,) = tmp_path.glob("*/checkpoint.pt")
    if damage == "truncated":
        checkpoint.write_bytes(checkpoint.read_bytes()[:-50])
    else:
        content = torch.load(checkpoint, weights_only=True)
        torch.save(content | {"run_id": "0123456789ab"}, checkpoint)
    kept = checkpoint.read_bytes()
    line = mistake(*asked)
    assert str(checkpoint) in line
    assert ("is damaged" if damage == "truncated" else "belongs to run 0123456789ab") in line
    assert checkpoint.read_bytes() == kept


def test_damaged_weights_of_a_finished_run_are_told_and_fail_that_run_only(tmp_path, capsys):
    asked = [*SMALL, "--methods", "simclr", "--out", str(tmp_path)]
    assert bench.main([*asked, "--probes", "knn"]) == 0
    (file,) = tmp_path.glob("*/weights.safetensors")
    file.write_bytes(file.read_bytes()[:-10])
    assert bench.main([*asked, "--probes", "all"]) == 1
    assert "is damaged or foreign" in capsys.readouterr().err


def test_two_processes_do_not_train_the_same_run(tmp_path, capsys):
    from filelock import FileLock

    asked = [*SMALL, "--methods", "simclr", "--probes", "knn", "--out", str(tmp_path)]
    assert bench.main(asked) == 0
    (folder,) = tmp_path.glob("digitslt*")
    (folder / "done").unlink()
    with FileLock(folder / ".lock"):
        assert bench.main(asked) == 1
    assert "another process works on" in capsys.readouterr().err


def test_views_are_made_by_whom_one_asks_for_and_never_mixed(tmp_path, capsys):
    command = [*SMALL, "--methods", "bcl", "--probes", "ridge", "--out", str(tmp_path)]
    for name in ("kornia", "torchvision"):
        assert bench.main([*command, "--views", name]) == 0
        assert f"views: {name} for digitslt (as asked)" in capsys.readouterr().out
    records = [json.loads(line) for file in tmp_path.glob("*/results.jsonl") for line in file.read_text().splitlines()]
    assert sorted(record["executor"] for record in records) == ["kornia", "torchvision"]
    assert len(list((tmp_path / "tables").glob("digitslt-*.csv"))) == 2


def test_views_can_be_looked_at(tmp_path, capsys):
    command = ["views", "--methods", "bcl", "sdclr", "--datasets", "digitslt", "--images", "3"]
    assert bench.main([*command, "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    for method in ("bcl", "sdclr"):
        file = tmp_path / f"digitslt-{method}.png"
        assert str(file) in printed
        with Image.open(file) as picture:
            pixels = np.asarray(picture.convert("RGB"))
        assert min(pixels.shape[:2]) > 300
        assert pixels.std() > 20
    assert all(view.randaugment for view in views_of("bcl", "digitslt"))  # those of the method at its settings


def test_list_and_doctor_tell_everything(capsys, tmp_path):
    assert bench.main(["list"]) == 0
    listed = capsys.readouterr().out
    assert "simclr.temperature (float|cosine:LOW:HIGH:PERIOD, default 0.2): softmax temperature tau" in listed
    assert "bcl-d: BCL-D. Zhou et al., ICML 2022, arXiv:2205.12693 (not in `all`)" in listed
    for part in ("arXiv:2006.07733", "cifar10lt", "emoji", "slim-resnet8", "sdclr-cached", "paper: the field's protocol"):
        assert part in listed
    assert bench.main(["doctor", "--data-root", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    for part in (
        "torch",
        "device:",
        "precision auto",
        "views auto, images in memory: torch",
        "cifar10lt: not there yet",
        "digitslt: bundled",
    ):
        assert part in told
    assert list(tmp_path.iterdir()) == []
