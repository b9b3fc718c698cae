"""What a user can get wrong: one line each, exit status 2, nothing lost."""

import subprocess
import sys

import pytest
import torch

import bench
from core.errors import UserError
from data.datasets.digitslt import DigitsLT
from tests.conftest import ROOT
from tests.runs import SMALL


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--methods", "simcrl"], "no method matches 'simcrl'; did you mean 'simclr'?"),
        (["--datasets", "cifar10-lt"], "no dataset matches 'cifar10-lt'; did you mean 'cifar10lt'?"),
        (["--probes", "sdclr_cached"], "did you mean 'sdclr-cached'?"),
        (
            ["--probes", "linear"],
            "no probe matches 'linear'; did you mean 'ridge' (closed form), or 'sdclr' or 'bcl' (by SGD)?",
        ),
        (["--datasets", "CIFAR10"], "no dataset matches 'CIFAR10'; did you mean 'cifar10lt'?"),
        (["--methods", "simclr,bylo"], "no method matches 'bylo'; did you mean 'byol'?"),
        (["--backbone", "zzz"], "no backbone is named 'zzz'; none of the"),
        (["--batch-size", "32", "--set", "recipe.batch_size=16"], "--batch-size 32 contradicts --set recipe.batch_size=16"),
        (["--set", "temperature=1"], "bcl, colt, sdclr, simclr, tase, ts have this setting; give METHOD.KEY=VALUE"),
        (["--epochs", "0", "--compile"], "--compile has no effect on runs of 0 epochs"),
        (["--set", "epochs=0", "--monitor", "knn"], "--monitor knn has no effect on runs of 0 epochs"),
        (["--backbone", "resnet81"], "did you mean 'resnet18', "),
        (["--backbone", "vgg11_bn"], "backbone 'vgg11_bn' does not support images of"),
        (["--epochs", "3", "--set", "recipe.warmup_epochs=5"], "must be less than the 3 epochs of the run"),
        (["--set", "simclr.temprature=1"], "did you mean 'temperature'?"),
        (["--methods", "colt", "--set", "colt.pool=emojis"], "no pool is named 'emojis'; did you mean 'emoji'"),
        (
            ["--methods", "colt", "--set", "colt.pool=emoji", "colt.budget=4000"],
            "samples 4,000 images, but its OOD pool has 3786",
        ),
        (["--methods", "tase", "--set", "tase.warmup=100%"], "tase.warmup=100% is as long as the run of 22 epochs, or longer"),
        (["--methods", "tase", "--set", "tase.clusterer=gh", "tase.clusters=200"], "gh allows at most 128 clusters, not 200"),
        (["--methods", "sdclr", "--backbone", "resnet50_gn"], "SDCLR needs a backbone with convolutions and batch norm"),
        (["--set", "simclr.temperature=hot"], "simclr.temperature=hot is not of the form float|cosine:LOW:HIGH:PERIOD"),
        (["--set", "simclr.temperature"], "is not of the form METHOD.KEY=VALUE"),
        (["--set", "simlcr.temperature=1"], "unknown method 'simlcr'; did you mean 'simclr'?"),
        (["--methods", "simclr", "--set", "byol.momentum=0.5"], "method 'byol' is not among --methods simclr"),
        (["--set", "recipe.epoch=3"], "recipe has no setting 'epoch'; did you mean 'epochs'?"),
        (["--splits", "1001"], "has splits 1 to 1000, not 1001"),
        (["--splits", "one"], "--splits"),
        (["--splits", "5-1"], "'5-1' is not a range of 1 to 10000 numbers, such as 1-5"),
        (["--seeds", "0-99999999999"], "is not a range of 1 to 10000 numbers"),
        (["--variants", "exp-500-50"], "cifar10lt has no variant 'exp-500-50'; did you mean 'exp-5000-50'?"),
        (["--variants", "ir50"], "cifar10lt has no variant 'ir50'; did you mean 'ir=50'?"),
        (["--variants", "100"], "did you mean 'ir=100'?"),
        (["--variants", "IR=50"], "cifar10lt has no variant 'IR=50'; did you mean 'ir=50'?"),
        (["--variants", "Ir=10,n=500"], "did you mean 'ir=10,n=500'?"),
        (["--variants", "ir=5000"], "leaves the smallest of 10 classes empty"),
        (["--datasets", "folderlt", "--splits", "2"], "folderlt (variant own) has one split, not 2; change --splits"),
        (["export", "nosuch"], "nosuch is not a run folder: it has no config.json; give a run folder"),
        (["list", "--variant", "exp-5000-50"], "add --passport"),
        (["list", "--passport", "--splits", "0"], "has splits 1 to 1000, not 0"),
        (["--batch-size", "99999"], "batch size 99999 is larger than cifar10lt's 11,165 images"),
        (["--epochs", "-1"], "recipe.epochs=-1 is out of range"),
        (["--epochs", "1000000000000"], "recipe.epochs=1000000000000 is out of range; it must be from 0 to 1000000"),
        (["--methods", "byol", "--set", "byol.hidden_dim=99999999999999999999"], "it must be from 1 to 2147483647"),
        (
            ["--methods", "byol", "--set", "byol.hidden_dim=2147483647"],
            "GB of memory for weights, gradients and optimiser state",
        ),
        (["--seeds", "-1"], "--seeds -1 is out of range"),
        (["--seeds", "12345678901234567890123"], "--seeds 12345678901234567890123 is out of range"),
        (["--splits", "99999999999999999999"], "has splits 1 to 1000, not 99999999999999999999"),
        (["--set", "recipe.sizes=16,100000"], "recipe.sizes=100000 is out of range; it must be from 4 to 4096"),
        (["--batch-size", "99999999999999999999"], "it must be from 2 to 2147483647"),
        (["--jobs", "99999999999999999999"], "--jobs 99999999999999999999"),
        (["--workers", "99999999999999999999"], "--workers 99999999999999999999"),
        (["--monitor", "knn", "--monitor-every", "99999999999999999999"], "--monitor-every 99999999999999999999"),
        (["--preset", "gpu"], "--preset"),
        (["--device", "tpu"], "unknown device 'tpu'"),
        (["--workers", "0"], "--workers 0"),
        (["--device", "cpu", "--jobs", "gpus"], "--jobs gpus needs all CUDA GPUs, but the device is cpu; omit --device"),
        (["--jobs", "gpu"], "--jobs"),
        (["--jobs", "0"], "--jobs 0: give a number from 1 to 1000000"),
        (["--seeds"], "--seeds is empty"),
        (["--seeds", "0", "1.7"], "--seeds: '1.7' is not an integer"),
        (["--epochs", "2.5"], "--epochs: '2.5' is not an integer"),
        (["list", "--passport", "--splits", "1e3"], "'1e3' is not an integer"),
        (["--methods"], "--methods is empty"),
        (["--monitor-every", "5"], "--monitor-every has no effect without --monitor knn"),
        (["--checkpoint-seconds", "nan"], "--checkpoint-seconds nan: give a number of seconds"),
        (["--monitor", "knn", "--monitor-every", "0"], "--monitor-every 0: give a number from 1 to"),
        (["--epoch", "3"], "--epoch"),
        (["plann"], "did you mean 'plan'?"),
        (["report", "--out", "nowhere"], "folder nowhere does not exist"),
    ],
)
def test_mistakes_get_one_line_and_status_2(mistake, arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert message in mistake(*arguments)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_reported(mistake):
    assert "finds no CUDA GPU; use --device cpu" in mistake("--device", "cuda")


def test_an_out_that_cannot_be_written_is_reported(mistake, tmp_path):
    (tmp_path / "file").write_text("")
    assert "choose another folder with --out" in mistake(*SMALL, "--out", tmp_path / "file" / "runs")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--out", "file"],
        ["plan", "--out", "file"],
        ["plan", "--out", "file/runs"],
        ["plan", "--data-root", "file"],
        ["report", "--out", "file"],
        ["status", "--out", "file"],
        ["views", "--out", "file"],
        ["serve", "--out", "file"],
        ["serve", "--out", "file/runs"],
    ],
    ids=" ".join,
)
def test_a_file_in_place_of_a_folder_is_reported(mistake, arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    assert f"{arguments[-2]} {arguments[-1]}: file is a file; choose another folder with {arguments[-2]}" in mistake(*arguments)


def test_unavailable_data_is_reported_before_anything_runs(tmp_path, monkeypatch, capsys):
    def unreachable(self, data_root, needs=None, *, fetch=True):
        raise UserError("no data")

    monkeypatch.setattr(DigitsLT, "load", unreachable)
    assert bench.main([*SMALL, "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err.strip() == "bench.py: no data"
    assert list(tmp_path.glob("digitslt*")) == []


@pytest.mark.parametrize("damage", ["truncated", "foreign"])
def test_a_run_without_a_readable_checkpoint_fails_and_the_grid_goes_on(capsys, tmp_path, damage, monkeypatch):
    asked = [*SMALL, "--methods", "simclr", "--probes", "knn", "--checkpoint-seconds", "1e9", "--out", str(tmp_path)]

    def stop(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("run_store.folder.RunFolder.save_trained", stop)
        assert bench.main(asked) == 130
    (checkpoint,) = tmp_path.glob("*/checkpoint.pt")
    if damage == "truncated":
        checkpoint.write_bytes(checkpoint.read_bytes()[:-50])
    else:
        content = torch.load(checkpoint, weights_only=True)
        torch.save(content | {"run_id": "0123456789ab"}, checkpoint)
    kept = checkpoint.read_bytes()
    capsys.readouterr()
    (option, seconds) = asked[asked.index("--checkpoint-seconds") :][:2]
    assert bench.main(["plan", *(word for word in asked if word not in (option, seconds))]) == 0
    planned = capsys.readouterr().out
    assert f"DAMAGED    {checkpoint.parent.name}" in planned
    assert "0 NEW, 1 DAMAGED; " in planned
    assert bench.main([*asked, "--methods", "simclr", "byol"]) == 1
    printed = capsys.readouterr()
    (line,) = [line for line in printed.err.splitlines() if line.startswith("FAILED")]
    assert str(checkpoint) in line
    assert ("is damaged" if damage == "truncated" else "belongs to run 0123456789ab") in line
    assert checkpoint.read_bytes() == kept
    (other,) = tmp_path.glob("digitslt-byol-*")
    assert (other / "done").exists()


def test_damaged_weights_of_a_finished_run_are_reported_and_fail_that_run_only(tmp_path, capsys):
    asked = [*SMALL, "--methods", "simclr", "--out", str(tmp_path)]
    assert bench.main([*asked, "--probes", "knn"]) == 0
    (file,) = tmp_path.glob("*/weights.safetensors")
    file.write_bytes(file.read_bytes()[:-10])
    assert bench.main([*asked, "--probes", "all"]) == 1
    assert "is damaged or of another network" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["--methods", "simcrl"],
        ["plan", "--datasets", "cifar10-lt"],
        ["--probes", "sdclr_cached"],
        ["views", "--methods", "simcrl"],
        ["data", "cifar10-lt"],
        ["list", "--datasets", "cifar10-lt"],
        ["probe", "nowhere", "--probes", "rigde"],
    ],
)
def test_misspelt_names_are_reported_before_torch_is_imported(arguments):
    code = f"import sys, bench; status = bench.main({arguments!r}); print(status, 'torch' in sys.modules)"
    finished = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert finished.stdout == "2 False\n"
    assert "did you mean" in finished.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["plan", "--datasets", "./rgb"], "no dataset matches './rgb'; did you mean folder:./rgb?"),
        (["plan", "--datasets", "digitslt", "rgb"], "no dataset matches 'rgb'; did you mean folder:rgb?"),
        (["data", "rgb/"], "no dataset matches 'rgb/'; did you mean folder:rgb/?"),
        (["list", "--datasets", "~/rgb"], "no dataset matches '~/rgb'; did you mean folder:~/rgb?"),
        (["plan", "--datasets", "./nosuch"], "no dataset matches './nosuch'; choose from: all, "),
        (["plan", "--methods", "./rgb"], "no method matches './rgb'; choose from: all, "),
        (["plan", "--datasets", "folder:"], "the dataset 'folder:' has no path; write folder:PATH"),
        (["data", "Folder: "], "has no path; write folder:PATH"),
        (["plan", "--methods", "colt", "--set", "colt.pool=rgb"], "no pool is named 'rgb'; did you mean folder:rgb?"),
        (["plan", "--methods", "colt", "--set", "colt.pool=folder:"], "the pool 'folder:' has no path"),
        (
            ["plan", "--data-root", "~nosuch/data"],
            "~nosuch/data: the home directory ~nosuch is not known; write",
        ),
        (["plan", "--datasets", "folder:~nosuch/rgb"], "the home directory ~nosuch is not known"),
        (["plan", "--datasets", "~nosuch"], "the home directory ~nosuch is not known"),
        (["plan", "--methods", "colt", "--set", "colt.pool=folder:~nosuch"], "the home directory ~nosuch is not known"),
    ],
)
def test_a_folder_is_given_as_folder_and_path(mistake, words, message, tmp_path, monkeypatch):
    (tmp_path / "rgb").mkdir()
    (tmp_path / "digitslt").mkdir()  # a name has priority
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert message in mistake(*words)
