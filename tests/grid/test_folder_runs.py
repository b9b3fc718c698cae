"""Runs on folders of images from the command line: `folder:PATH`, from folder to records, and mistakes."""

import json
import re
import shutil
from pathlib import Path

import pytest

import bench
from data.datasets import image_folder
from tests.folders import class_images, write_images, write_shard

COUNTS = {"ant": 20, "bee": 18, "cat": 15}
SMALL = ("--methods", "simclr", "--preset", "smoke", "--precision", "fp32", "--device", "cpu", "--workers", "1")
SMALL += ("--probes", "knn", "--epochs", "1", "--batch-size", "6", "--set", "recipe.sizes=16")


@pytest.fixture
def images(tmp_path):
    """A folder with a folder of images per class."""
    write_images(tmp_path / "pets", class_images(COUNTS))
    return tmp_path / "pets"


def _files(folder: Path) -> list[tuple[str, int]]:
    return sorted((str(path.relative_to(folder)), path.stat().st_mtime_ns) for path in folder.rglob("*"))


def _command(tmp_path, *words):
    return [*map(str, words), *SMALL, "--data-root", str(tmp_path / "root"), "--out", str(tmp_path / "runs")]


def _records(folder):
    return [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]


def test_one_command_from_a_folder_to_a_table(images, tmp_path, capsys, monkeypatch):
    before = _files(images)
    command = _command(tmp_path, "--datasets", f"folder:{images}")
    assert bench.main(command) == 0
    assert _files(images) == before
    assert not (tmp_path / "root").exists()
    (run,) = (tmp_path / "runs").glob("folder-pets-*")
    (record,) = _records(run)
    assert record["class_counts"] == [14, 14, 11]
    assert record["test_counts"] == [4, 3, 3]
    assert json.loads((run / "passport.json").read_text())["class_names"] == list(COUNTS)
    assert str(images) not in (run / "results.jsonl").read_text()

    monkeypatch.setattr("grid.execute.train", None)  # all that follows trains nothing
    assert bench.main(command) == 0
    assert len(_records(run)) == 1
    capsys.readouterr()
    assert bench.main(["plan", *command]) == 0
    assert f"DONE       {run.name}" in capsys.readouterr().out
    assert bench.main(["report", "--out", str(tmp_path / "runs")]) == 0

    (tmp_path / "other").mkdir()
    images.rename(tmp_path / "other" / "pets")  # another place, and the same runs
    assert bench.main(_command(tmp_path, "--datasets", f"folder:{tmp_path / 'other' / 'pets'}")) == 0
    assert [path for path in (tmp_path / "runs").iterdir() if "simclr" in path.name] == [run]


def test_a_run_is_probed_from_its_folder_in_another_process(images, tmp_path, mistake):
    assert bench.main(_command(tmp_path, "--datasets", f"folder:{images}")) == 0
    (run,) = (tmp_path / "runs").glob("folder-pets-*")

    def forget():
        for known in (image_folder._places, image_folder._read, image_folder._readable):
            known.clear()

    forget()
    assert bench.main(["probe", str(run), "--probes", "ridge", "--device", "cpu", "--workers", "1"]) == 0
    assert [record["probe"] for record in _records(run)] == ["knn", "ridge"]

    (tmp_path / "other").mkdir()
    images.rename(tmp_path / "other" / "pets")
    forget()
    probe = ["probe", run, "--probes", "geometry", "--device", "cpu", "--workers", "1"]
    assert f"{images}, the folder of {run.name.partition('-simclr')[0]}, does not exist" in mistake(*probe)
    forget()
    assert bench.main([*map(str, probe), "--datasets", f"folder:{tmp_path / 'other' / 'pets'}"]) == 0
    assert [record["probe"] for record in _records(run)] == ["knn", "ridge", "geometry"]


def test_several_folders_and_profiles_in_one_grid(images, tmp_path, capsys):
    parts = class_images({"x": 9, "y": 6, "z": 5}, "train/") + class_images({"x": 2, "y": 2, "z": 2}, "test/")
    write_images(tmp_path / "parts", parts)
    command = _command(tmp_path, "plan", "--datasets", f"folder:{images}", f"folder:{tmp_path / 'parts'}", "digitslt")
    assert bench.main(command) == 0
    lines = [line.split()[1] for line in capsys.readouterr().out.splitlines() if line.startswith("NEW")]
    assert [name.rpartition("-simclr")[0][:12] for name in lines] == ["folder-pets-", "folder-parts", "digitslt"]
    command = _command(tmp_path, "--datasets", f"folder:{images}", "--profiles", "ir=2,n=30", "balanced-ir=2,n=30")
    assert bench.main(command) == 0
    found = {}
    for file in (tmp_path / "runs").glob("folder-pets-*/results.jsonl"):
        record = json.loads(file.read_text())
        found[record["profile"]] = record["class_counts"], record["group_counts"]
    tailed = found["ir=2,n=30"][0]
    assert sorted(tailed) == [7, 9, 14]
    assert found == {"ir=2,n=30": (tailed, tailed), "balanced-ir=2,n=30": ([10, 10, 10], tailed)}


@pytest.fixture
def shards(images, tmp_path):
    """A folder with the same images in shards."""
    files = {f"{file.parent.name}_{file.stem}": file for file in sorted(images.rglob("*.png"))}
    for number in range(3):
        write_shard(tmp_path / "packed" / f"{number:05d}.tar", dict(list(files.items())[number::3]))
    shutil.rmtree(images)
    return tmp_path / "packed"


def test_a_run_on_shards(shards, tmp_path, capsys):
    before = _files(shards)
    assert bench.main(["data", f"folder:{shards}"]) == 0
    assert "43 training and 10 test images" in capsys.readouterr().out
    assert bench.main(_command(tmp_path, "--datasets", f"folder:{shards}")) == 0
    assert _files(shards) == before
    (run,) = (tmp_path / "runs").glob("folder-packed-*")
    (record,) = _records(run)
    assert (record["class_counts"], record["test_counts"]) == ([14, 14, 11], [4, 3, 3])
    assert json.loads((run / "passport.json").read_text())["class_names"] == list(COUNTS)


@pytest.mark.slow
def test_worker_processes_train_on_shards(shards, tmp_path):
    assert bench.main(_command(tmp_path, "--datasets", f"folder:{shards}", "--seeds", "0", "1", "--jobs", "2")) == 0
    assert len(list((tmp_path / "runs").glob("folder-packed-*/done"))) == 2


def test_index_lists_of_shards_are_read_as_folderlt(shards, tmp_path, capsys):
    to = tmp_path / "root" / "folderlt"
    assert bench.main(["data", "make-lists", str(shards), "--to", str(to), "--variant", "ir=2,n=30"]) == 0
    for file in shards.iterdir():
        (to / file.name).symlink_to(file)
    root = ["--data-root", str(tmp_path / "root")]
    assert bench.main(["data", "folderlt", *root]) == 0
    assert "ok    folderlt: 43 training and 10 test images" in capsys.readouterr().out
    assert bench.main(_command(tmp_path, "--datasets", "folderlt")) == 0
    (run,) = (tmp_path / "runs").glob("folderlt-*")
    assert json.loads((run / "passport.json").read_text())["class_names"] == ["0", "1", "2"]
    (to / "00001.tar").unlink()
    assert bench.main(["data", "folderlt", *root]) == 1
    assert "of 53 images in the index files of folderlt are missing" in capsys.readouterr().out


def test_folders_with_commas(images, tmp_path, capsys):
    (tmp_path / "a,b").mkdir()
    for name in ("cats,dogs", "a,b/pets"):
        shutil.copytree(images, tmp_path / name)
    words = f"folder:{tmp_path / 'cats,dogs'},folder:{tmp_path / 'a,b' / 'pets'},digitslt"
    assert bench.main(_command(tmp_path, "plan", "--datasets", words)) == 0
    lines = [line.split()[1] for line in capsys.readouterr().out.splitlines() if line.startswith("NEW")]
    assert [re.sub("-[0-9a-f]{8}-simclr.*|-simclr.*", "", name) for name in lines] == [
        "folder-cats_dogs",
        "folder-pets",
        "digitslt",
    ]


@pytest.mark.slow
def test_worker_processes_and_verify_resume_find_the_folder(images, tmp_path, capsys):
    command = _command(tmp_path, "--datasets", f"folder:{images}", "--seeds", "0", "1", "--jobs", "2")
    assert bench.main(command) == 0
    assert len(list((tmp_path / "runs").glob("folder-pets-*/done"))) == 2
    command = ["verify-resume", "simclr", "--dataset", f"folder:{images}", "--batch-size", "8"]
    assert bench.main([*command, "--set", "recipe.sizes=16"]) == 0
    assert "resumes bit-identically" in capsys.readouterr().out


def test_index_lists_are_written_in_the_format_of_folderlt(images, tmp_path, capsys, mistake):
    to = tmp_path / "root" / "folderlt"
    assert bench.main(["data", "make-lists", str(images), "--to", str(to), "--variant", "ir=2,n=30"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{to / name}: {count} images, 3 classes"
        for name, count in (
            *(("lt_train.txt", 30), ("balanced_train.txt", 39), ("val.txt", 4)),
            *(("balanced_twin.txt", 30), ("test.txt", 10)),
        )
    ]
    before = _files(to)
    assert "exists; choose another folder" in mistake("data", "make-lists", images, "--to", to)
    assert _files(to) == before
    for name in COUNTS:
        shutil.copytree(images / name, to / name)
    assert bench.main(["data", "folderlt", "--data-root", str(tmp_path / "root")]) == 0
    assert "ok    folderlt: 43 training and 10 test images" in capsys.readouterr().out


def _damaged(images):
    (images / "ant" / "3.png").write_bytes(b"no image")


MISTAKES = {
    "no folder": (shutil.rmtree, "does not exist"),
    "no images": (lambda images: [file.unlink() for file in images.rglob("*.png")], "contains no image"),
    "one class": (lambda images: [shutil.rmtree(images / name) for name in ("ant", "bee")], "has 1 class of training images"),
    "too few": (
        lambda images: [(images / "cat" / f"{i}.png").unlink() for i in range(13)],
        "is too small: 'cat' (2); a split into",
    ),
    "unreadable": (_damaged, "1 of 53 images in"),
    "empty": (lambda images: (images / "ant" / "3.png").write_bytes(b""), "has 1 empty image file: "),
    "clash": (lambda images: (images / "ant").rename(images / "Cat"), "look the same: 'Cat', 'cat'"),
}


@pytest.mark.parametrize("words", [[], ["plan"], ["data"]])
@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_one_line_and_nothing_is_written(images, tmp_path, mistake, capsys, case, words):
    make, said = MISTAKES[case]
    make(images)
    before = _files(tmp_path)
    if words == ["data"]:
        status = bench.main(["data", f"folder:{images}", "--data-root", str(tmp_path / "root")])
        out, err = capsys.readouterr()
        assert status in (1, 2)
        assert said in out + err
        assert len((out + err).strip().splitlines()) == 1
    else:
        assert said in mistake(*_command(tmp_path, *words, "--datasets", f"folder:{images}"))
    assert [name for name, _ in _files(tmp_path) if name != "runs"] == [name for name, _ in before]


def test_a_batch_larger_than_the_folder_is_a_mistake_of_run_and_plan(images, tmp_path, mistake):
    for words in ([], ["plan"]):
        command = [word if word != "6" else "40" for word in _command(tmp_path, *words, "--datasets", f"folder:{images}")]
        assert "batch size 40 is larger than folder-pets-" in mistake(*command)
