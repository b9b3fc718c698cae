"""The command line: runs, output and files."""

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import bench
from commands.views import method_views
from methods import METHODS
from tests.conftest import ROOT
from tests.runs import SMALL
from training.loop import Diverged


def test_help_needs_no_torch():
    code = "import bench, sys; bench.main(['--help']); print('torch' in sys.modules)"
    finished = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert "--methods" in finished.stdout
    assert "doctor" in finished.stdout
    assert finished.stdout.splitlines()[-1] == "False"


@pytest.mark.figures
def test_the_grid_runs_is_skipped_when_done_and_is_tabled(tmp_path, capsys):
    out = tmp_path / "runs"
    asked = [*SMALL, "--methods", "simclr", "byol", "--splits", "1", "2", "--out", str(out)]
    assert bench.main(asked) == 0
    printed = capsys.readouterr()
    assert "4 runs" in printed.out
    assert "estimated time" in printed.out
    assert "SimCLR" in printed.out
    assert "Smoke-scale numbers" in printed.out
    folders = sorted(out.glob("digitslt-*"))
    assert len(folders) == 4
    for folder in folders:
        assert {file.name for file in folder.iterdir()} - {"tsne-embedding.npz"} == {  # which one run of a method has
            ".lock", "config.json", "passport.json", "log.jsonl", "weights.safetensors", "training.json",
            "tail_scores.npz", "by_class.npz", "tsne.npz", "results.jsonl", "done",
        }  # fmt: skip
        records = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
        assert {record["probe"] for record in records} == {"knn", "ridge", "ridge-1pct"}
        assert all(record["preset"] == "smoke" and record["run_id"] == folder.name[-12:] for record in records)
        assert all(len(record["class_accuracy"]) == 10 for record in records)
    tables = {file: file.read_text() for file in (out / "tables").rglob("*.*")}
    probes = ("knn-probe", "linear-probe", "linear-probe-1pct")
    assert tables.keys() > {out / "tables" / "digitslt" / f"{probe}.tex" for probe in probes}
    page = (out / "report.html").read_text()
    assert "SimCLR" in page
    assert list((out / "figures").glob("*.svg"))

    before = {file: file.stat().st_mtime_ns for folder in folders for file in folder.iterdir()}
    assert bench.main([*asked, "--checkpoint-seconds", "5"]) == 0
    assert "estimated time" not in capsys.readouterr().out
    assert before == {file: file.stat().st_mtime_ns for folder in folders for file in folder.iterdir()}

    (out / "tables" / "results.csv").unlink()
    (out / "report.html").unlink()
    assert bench.main(["report", "--out", str(out)]) == 0
    assert (out / "report.html").read_text() == page
    assert {file: file.read_text() for file in (out / "tables").rglob("*.*")} == tables

    assert bench.main(["plan", *asked]) == 0
    assert "4 DONE, 0 RESUMABLE, 0 NEW; estimated time for training and probes: 0 s" in capsys.readouterr().out


def test_a_finished_run_takes_another_probe_without_training(tmp_path, monkeypatch):
    asked = [*SMALL, "--methods", "simclr", "--out", str(tmp_path)]
    assert bench.main([*asked, "--probes", "knn"]) == 0
    monkeypatch.setattr("grid.execute.train", None)
    assert bench.main([*asked, "--probes", "ts", "knn", "ridge"]) == 0
    (results,) = tmp_path.glob("*/results.jsonl")
    assert [json.loads(line)["probe"] for line in results.read_text().splitlines()] == [
        "knn",
        *("ts-knn1", "ts-knn10", "ts-longtailed", "ts-fewshot"),
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


def test_when_every_run_fails_the_reasons_are_reported(tmp_path, monkeypatch, capsys):
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
    assert rows == ["SimCLR", "SimCLR (temperature=0.5)"] * 2  # summary and table


def test_runs_of_each_augmentation_backend_are_runs_of_their_own(tmp_path, capsys):
    command = [*SMALL, "--methods", "bcl", "--probes", "ridge", "--out", str(tmp_path)]
    for name in ("kornia", "torchvision"):
        assert bench.main([*command, "--views", name]) == 0
        assert f"views: {name} for digitslt (set by --views)" in capsys.readouterr().out
    records = [json.loads(line) for file in tmp_path.glob("*/results.jsonl") for line in file.read_text().splitlines()]
    assert sorted(record["executor"] for record in records) == ["kornia", "torchvision"]
    assert len(list((tmp_path / "tables" / "digitslt").glob("linear-probe-*.csv"))) == 2


def test_views_writes_figures(tmp_path, capsys):
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
    assert all(view.randaugment for view in method_views("bcl", "digitslt"))  # those of the method at its settings


def test_list_and_doctor_print_everything(capsys, tmp_path):
    assert bench.main(["list"]) == 0
    listed = capsys.readouterr().out
    assert "simclr.temperature (float|cosine:LOW:HIGH:PERIOD, default 0.2): softmax temperature tau" in listed
    assert "bcl-d: BCL-D (long-tail). Zhou et al., ICML 2022, arXiv:2205.12693 (not in `all`)" in listed
    assert "  all: bcl, byol, colt, sdclr, simclr, tase, ts\n" in listed
    assert "in imagenet100lt: temperature = 0.3, prune = 0.3 (of sdclr)" in listed
    for part in ("arXiv:2006.07733", "cifar10lt", "emoji", "slim-resnet8", "sdclr-cached", "paper: protocol of the papers"):
        assert part in listed
    assert bench.main(["doctor", "--data-root", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    for part in (
        "torch",
        "device:",
        "precision auto",
        "views auto, images in memory: torch",
        "cifar10lt: missing",
        "digitslt: bundled",
    ):
        assert part in told
    assert list(tmp_path.iterdir()) == []
