"""Runs on a folder of photographs from the command line, and the `data` command."""

import json

import numpy as np
import pytest

import bench
from data.benchmark import BENCHMARKS
from tests.folders import FILES, make_folder

SMALL = ("--datasets", "folderlt", "--preset", "smoke", "--precision", "fp32", "--device", "cpu", "--workers", "1")
SMALL += ("--set", "recipe.sizes=16", "recipe.epochs=2", "recipe.batch_size=6")


@pytest.fixture
def root(tmp_path, photographs):
    """A data root with a `folderlt`."""
    make_folder(tmp_path / "folderlt", photographs)
    return tmp_path


def test_a_whole_run_on_a_folder_of_photographs(root, tmp_path, capsys, caplog):
    out = tmp_path / "runs"
    command = [*SMALL, "--methods", "simclr", "--data-root", str(root), "--out", str(out)]
    assert bench.main(command) == 0
    printed = capsys.readouterr()
    assert "estimated time" in printed.out
    assert "views: torchvision for folderlt (auto: image files, no GPU)" in printed.out
    (folder,) = out.glob("folderlt-*")
    records = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    assert {record["probe"] for record in records} == {"knn", "ridge"}
    for record in records:
        assert record["class_counts"] == [12, 7, 4]
        assert (record["n_pretrain"], record["n_train"], record["n_test"]) == (23, 12, 9)
        assert len(record["class_accuracy"]) == 3
        assert "the user's own lists" in record["data"]
    before = (folder / "results.jsonl").read_text()
    assert bench.main(command) == 0
    assert (folder / "results.jsonl").read_text() == before
    assert "other data" not in caplog.text


def test_changed_index_lists_are_reported_and_probes_can_be_repeated(root, tmp_path, caplog, monkeypatch):
    out = tmp_path / "runs"
    command = [*SMALL, "--methods", "simclr", "--data-root", str(root), "--out", str(out), "--probes", "knn"]
    assert bench.main(command) == 0
    (folder,) = out.glob("folderlt-*")
    (root / "folderlt" / "fewshot_train.txt").write_text("train/class0/0.jpg 0\ntrain/class1/0.jpg 1\ntrain/class2/0.jpg 2\n")
    (root / "folderlt" / "val.txt").write_text("train/class0/1.jpg 0\ntrain/class1/1.jpg 1\ntrain/class2/1.jpg 2\n")
    assert bench.main(command) == 0
    assert "was probed with other index lists (train, val; passport " in caplog.text
    caplog.clear()

    monkeypatch.setattr("grid.execute.train", None)  # changed lists of probes need no training
    (folder / "results.jsonl").unlink()
    assert bench.main([*command, "sdclr-cached-1pct"]) == 0
    assert bench.main(command) == 0
    assert "other" not in caplog.text
    records = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    assert [(record["probe"], record["n_train"]) for record in records] == [("knn", 15), ("sdclr-cached-1pct", 3)]

    file = root / "folderlt" / FILES["pretrain"]
    file.write_text(file.read_text().replace("pretrain/class0/11.jpg 0\n", ""))
    assert bench.main(command) == 0
    assert "was trained or probed on other data" in caplog.text
    (folder / "results.jsonl").unlink()
    assert bench.main(command) == 1  # probing on other data than that of training is refused


def test_a_balanced_profile_is_trained_on_and_uses_the_groups_of_the_long_tailed_set(root, tmp_path, caplog):
    twin = "".join(f"pretrain/class{c}/{i}.jpg {c}\n" for c in range(3) for i in range(4))
    (root / "folderlt" / "balanced_twin.txt").write_text(twin)
    out = tmp_path / "runs"
    command = [*SMALL, "--methods", "simclr", "--probes", "knn", "--data-root", str(root), "--out", str(out)]
    caplog.set_level("INFO")
    assert bench.main([*command, "--variants", "balanced", "own"]) == 0
    assert "[1/2] simclr on folderlt variant balanced split 1 seed 0" in caplog.text
    assert "[2/2] simclr on folderlt split 1 seed 0" in caplog.text
    found = {}
    for file in out.glob("folderlt-*/results.jsonl"):
        record = json.loads(file.read_text())
        found[record["profile"]] = record["class_counts"], record["group_counts"], record["tail_auroc"] is not None
    assert found == {"own": ([12, 7, 4], [12, 7, 4], True), "balanced": ([4, 4, 4], [12, 7, 4], True)}


def test_available_index_lists_determine_the_probes(root, tmp_path, mistake, caplog):
    command = ["plan", *SMALL, "--methods", "simclr", "--data-root", root, "--out", tmp_path / "runs"]
    message = mistake(*command, "--probes", "knn", "sdclr-cached-1pct")
    assert (
        message
        == "bench.py: the probe sdclr-cached-1pct needs a fewshot list, which folderlt lacks; choose others with --probes"
    )
    assert "lacks the index lists of all chosen probes" in mistake(*command, "--probes", "*1pct")
    caplog.set_level("INFO")
    assert bench.main([str(argument) for argument in command]) == 0
    assert "folderlt: skipped the probe ridge-1pct, which needs a fewshot list" in caplog.text
    assert "100shot" not in caplog.text
    caplog.clear()
    (root / "folderlt" / "fewshot_train.txt").write_text((root / "folderlt" / FILES["train"]).read_text())
    assert bench.main([*map(str, command), "--probes", "sdclr-cached-1pct"]) == 0


def test_a_batch_larger_than_the_pretraining_set_is_an_error(root, tmp_path, mistake):
    small = ["recipe.batch_size=24" if word.startswith("recipe.batch_size=") else word for word in SMALL]
    command = [*small, "--methods", "simclr", "--data-root", root, "--out", tmp_path / "runs"]
    for words in ([], ["plan"]):
        assert "batch size 24 is larger than folderlt's 23 images; lower --batch-size" in mistake(*words, *command)


@pytest.mark.parametrize("kind", ["folder", "array"])
def test_pools_with_image_files(root, tmp_path, photographs, kind):
    pool = root / "folderlt" / "train"
    if kind == "array":
        pool = tmp_path / "pool.npy"
        np.save(pool, photographs[:20].permute(0, 2, 3, 1).numpy())
    command = [*SMALL, f"colt.pool=folder:{pool}", "colt.budget=5", "--methods", "colt", "--probes", "knn"]
    command += ["--data-root", str(root), "--out", str(tmp_path / "runs")]
    assert bench.main(command) == 0
    (folder,) = (tmp_path / "runs").glob("folderlt-*")
    count = 20 if kind == "array" else 15
    assert json.loads((folder / "results.jsonl").read_text())["pool"].startswith(f"folder:{pool}, {count} images, sha256 ")


# the command `data`


def test_data_prints_sizes_and_errors(root, capsys):
    for check in ([], ["--check"]):
        assert bench.main(["data", "folderlt", "digitslt", *check, "--data-root", str(root)]) == 0
        folder, digits = capsys.readouterr().out.splitlines()
        assert folder.startswith("ok    folderlt: 38 training and 9 test images; the user's own lists")
        assert digits.startswith("ok    digitslt: 1,397 training and 400 test images; scikit-learn's digits; sha256 ")
    (root / "folderlt" / "test" / "class0" / "1.jpg").unlink()
    assert bench.main(["data", "folderlt", "digitslt", "--data-root", str(root)]) == 1
    folder, digits = capsys.readouterr().out.splitlines()
    assert folder.startswith("ERROR folderlt: 1 of 47 images in the index files of folderlt is missing in ")
    assert digits.startswith("ok ")


def test_data_check_does_not_download(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("data.sources.fetch._retrieve", lambda *arguments: pytest.fail("fetched"))
    names = [name for name, benchmark in BENCHMARKS if benchmark.suite]
    assert bench.main(["data", "all", "--check", "--data-root", str(tmp_path)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == [f"ERROR {name}" for name in names]
    assert list(tmp_path.iterdir()) == []


def test_data_of_an_unknown_benchmark_is_an_error(mistake):
    assert "no dataset matches 'cifar9lt'; did you mean" in mistake("data", "cifar9lt")
