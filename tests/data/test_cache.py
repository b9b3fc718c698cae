"""Data cache: description of the data in a plan, loading once, no downloads."""

from dataclasses import replace

import numpy as np
import pytest

from core.errors import UserError
from data.benchmark import BENCHMARKS
from data.cache import DataCache
from data.datasets.image_folder import enter
from grid.options import GridOptions
from grid.plan import make_plan
from tests.folders import FILES, class_images, make_folder, write_images


@pytest.fixture
def root(tmp_path, photographs):
    make_folder(tmp_path / "folderlt", photographs)
    return tmp_path


def _plan(root, **asked):
    return make_plan(GridOptions(**{"methods": ["simclr"], "preset": "smoke", "device": "cpu", "data_root": root} | asked))


def test_the_data_of_a_plan_is_a_line_for_each_profile(root):
    plan = _plan(root, datasets=["digitslt", "folderlt", "cifar10lt"], splits=[1], variants=[], batch_size=4)
    digits, folder, cifar = plan.passports
    assert digits.startswith(
        "digitslt (variant own): 335 images, 100 to 5 of a class, ratio 20; scikit-learn's digits, sha256 "
    )
    assert folder.startswith("folderlt (variant own): 23 images, 12 to 4 of a class, ratio 3; the user's own lists; ")
    assert folder.split("; ")[-1].startswith("split 1: ")
    assert cifar.startswith("MISSING DATA: cifar10lt (variant exp-4500-45): CIFAR-10 is not in ")
    assert {path.name for path in root.iterdir()} == {"folderlt"}


def test_the_line_has_all_splits(tmp_path):
    (line,) = _plan(tmp_path, datasets=["digitslt"], splits=[3, 1], methods=["simclr", "byol"]).passports
    third, first = (DataCache(tmp_path).passport("digitslt", "own", split).short for split in (3, 1))
    assert line.endswith(f"; split 3: {third}, split 1: {first}")


def test_what_is_missing_yet_is_reported(root):
    (root / "lists").mkdir()
    (line,) = _plan(root, datasets=["inat18"]).passports
    assert line.startswith("MISSING DATA: inat18 (variant official): ")
    (root / "folderlt" / "train").rename(root / "elsewhere")
    (line,) = _plan(root, datasets=["folderlt"], batch_size=4).passports  # images are looked for by `data` and `run`
    assert "missing" not in line


def test_a_published_list_that_a_probe_needs_is_reported_where_it_is_missing(root, monkeypatch):
    monkeypatch.setattr(BENCHMARKS["imagenet100lt"], "lists_folder", "folderlt")
    declared = BENCHMARKS["imagenet100lt"].files
    files = {
        role: replace(declared[role], name=FILES[role], checksum=None, images=None, smallest=None, largest=None)
        for role in FILES
    }
    files["fewshot"] = declared["fewshot"]
    monkeypatch.setattr(BENCHMARKS["imagenet100lt"], "files", files)
    monkeypatch.setattr(BENCHMARKS["imagenet100lt"], "classes", 3)
    there = DataCache(root)
    needed, without = (there.line("imagenet100lt", "sdclr", [1], needs) for needs in ({"fewshot", "val"}, {"train"}))
    assert needed.endswith(f"; missing: {declared['fewshot'].name}, the folder {root / 'imagenet'}")
    assert without.endswith(f"; missing: the folder {root / 'imagenet'}")


def test_a_contradictory_list_is_a_mistake(root):
    file = root / "folderlt" / FILES["test"]
    file.write_text(file.read_text().replace(" 2\n", " 1\n"))
    with pytest.raises(UserError, match="no image of class 2"):
        _ = _plan(root, datasets=["folderlt"], batch_size=4).passports


def test_data_is_read_once(root, monkeypatch):
    read = []
    for name in ("digitslt", "folderlt"):
        declared = BENCHMARKS[name]
        inner = "load" if name == "digitslt" else "_read"
        real = getattr(declared, inner)
        monkeypatch.setattr(declared, inner, lambda self, *a, real=real, n=name, **k: read.append(n) or real(self, *a, **k))
    there = DataCache(root)
    for dataset in ("digitslt", "folderlt"):
        there.passport(dataset, "own", 1)
        labels, _ = there.labels(dataset)
        images = there.load(dataset, {"train", "val"})
        assert np.array_equal(images.train_labels, labels)
        there.passport(dataset, "own", 1)
    assert read == ["digitslt", *["folderlt"] * len(FILES)]


def test_images_of_further_lists_are_searched_when_they_are_needed(root):
    there = DataCache(root)
    (root / "folderlt" / "train" / "class0" / "0.jpg").unlink()
    (root / "folderlt" / "val.txt").write_text("".join(f"train/class{c}/1.jpg {c}\n" for c in range(3)))
    images = there.load("folderlt", {"pretrain", "test", "val"})
    assert there.load("folderlt", {"val"}) is images
    for _ in range(2):
        with pytest.raises(UserError, match=r"1 of \d+ images .*train/class0/0\.jpg"):
            there.load("folderlt", {"train"})


def test_a_list_that_changed_is_read_again(root):
    there = DataCache(root)
    before = there.passport("folderlt", "own", 1)
    file = root / "folderlt" / FILES["test"]
    file.write_text(file.read_text().rsplit("\n", 2)[0] + "\n")
    after = there.passport("folderlt", "own", 1)
    assert after.lists["test"][0] == before.lists["test"][0] - 1
    assert after.pretraining == before.pretraining


def test_what_a_plan_needs(tmp_path):
    plan = _plan(tmp_path, datasets=["imagenet100lt"], variants=["sdclr"], probes=["sdclr-cached-1pct"])
    assert plan.needs("imagenet100lt") == {"pretrain", "test", "fewshot", "val"}
    plan = _plan(tmp_path, datasets=["imagenet100lt"], variants=["sdclr", "balanced"], probes=["sdclr-cached-1pct"])
    assert plan.needs("imagenet100lt") == {"pretrain", "test", "fewshot", "val", "balanced"}
    assert [run.config.profile for run in plan.runs] == ["sdclr", "balanced"]


@pytest.mark.parametrize(("dataset", "has"), [("imagenetlt", True), ("imagenet100lt", False)])
def test_a_list_that_a_probe_takes_where_there_is_one_is_needed_there(dataset, has, tmp_path):
    plan = _plan(tmp_path, datasets=[dataset], probes=["bcl-100shot"])
    assert ("shot100" in plan.needs(dataset)) == has


def test_equal_class_counts_are_a_warning(tmp_path, caplog):
    write_images(tmp_path, class_images({"a": 9, "b": 9, "c": 9}))
    name = enter(tmp_path)
    for profile, warned in (("natural", True), ("ir=2", False), ("balanced-ir=2", False)):
        caplog.clear()
        DataCache(tmp_path).line(name, profile, [1], ["pretrain"])
        assert ("many, medium and few are arbitrary thirds of the classes" in caplog.text) == warned
