"""Benchmarks by lists, on photographs in a temporary folder and on a stand-in for ImageNet."""

import hashlib
import re
from collections import Counter

import numpy as np
import pytest

from core.errors import UserError
from data.benchmark import BENCHMARKS
from data.benchmarks.listed import ListFile
from data.lists.own import hold_out_tenth
from data.pictures import Pictures
from tests.folders import FILES, make_folder


@pytest.fixture
def root(tmp_path, photographs):
    """A data root with a `folderlt`."""
    make_folder(tmp_path / "folderlt", photographs)
    return tmp_path


def _opened(root, name="folderlt"):
    benchmark = BENCHMARKS[name]()
    images = benchmark.load(root)
    return images, benchmark.lists(images.train_labels, benchmark.profile(None), 1), benchmark


def _edit(root, role, change):
    file = root / "folderlt" / FILES[role]
    file.write_text(change(file.read_text()))


def test_lists_point_into_one_set_of_distinct_pictures(root):
    _edit(root, "train", lambda text: text + "pretrain/class1/0.jpg 1\n")
    images, lists, benchmark = _opened(root)
    assert isinstance(images.train, Pictures)
    assert len(images.train) == len(images.train_labels) == 23 + 15
    assert len(images.test) == 9
    names = np.array(images.train.names())
    assert len(set(names)) == len(names)
    assert Counter(images.train_labels[lists.pretrain].tolist()) == {0: 12, 1: 7, 2: 4}
    assert all(f"/class{label}/" in name for name, label in zip(names, images.train_labels, strict=True))
    assert benchmark.class_names == ("class0", "class1", "class2")
    assert not len(lists.balanced)
    assert not len(lists.fewshot)
    read = images.train[lists.pretrain[:2]].read()
    assert (read.width.tolist(), read.height.tolist()) == ([40, 43], [48, 46])


def test_validation_is_held_out_where_there_is_none_and_called_ours(root):
    images, lists, _ = _opened(root)
    assert Counter(images.train_labels[lists.val].tolist()) == {0: 1, 1: 1, 2: 1}
    assert len(lists.train) == 12
    assert not set(lists.val.tolist()) & set(lists.train.tolist())
    assert images.source.name.endswith("; validation list of this suite")
    again = _opened(root)[1]
    assert np.array_equal(lists.val, again.val)
    (root / "folderlt" / "val.txt").write_text("train/class0/0.jpg 0\ntrain/class1/0.jpg 1\ntrain/class2/0.jpg 2\n")
    images, lists, _ = _opened(root)
    assert "this suite" not in images.source.name
    assert len(lists.val) == 3


def test_without_a_labelled_list_probes_learn_from_the_long_tail(root):
    (root / "folderlt" / FILES["train"]).unlink()
    images, lists, _ = _opened(root)
    assert "probes learn from the long-tailed labels; validation list of this suite" in images.source.name
    assert Counter(images.train_labels[lists.train].tolist()) == {0: 11, 1: 6, 2: 3}
    assert sorted([*lists.train, *lists.val]) == sorted(lists.pretrain)


def test_a_tenth_is_held_out_but_at_least_one_and_never_the_last():
    labels = np.repeat([0, 1, 2, 3], [25, 9, 2, 1])
    kept, held = hold_out_tenth(np.arange(len(labels)), labels)
    assert np.bincount(labels[held], minlength=4).tolist() == [2, 1, 1, 0]
    assert sorted([*kept, *held]) == list(range(len(labels)))


def test_images_that_are_validation_and_training_at_once_are_told(root, caplog):
    (root / "folderlt" / "val.txt").write_text("train/class0/0.jpg 0\n")
    _opened(root)
    assert "folderlt: 1 validation images are labelled training images too" in caplog.text


@pytest.mark.parametrize(
    ("role", "change", "said"),
    [
        (
            "pretrain",
            lambda text: text.replace("0/3.jpg", "0/gone.jpg"),
            "1 of 47 images .* not in .*: pretrain/class0/gone.jpg;",
        ),
        ("test", lambda text: text.replace("/class", "/klass"), "9 of 47 images .*klass0/0.jpg, .*klass0/1.jpg, .*, ...;"),
        ("pretrain", lambda text: text.replace(" 1\n", " 3\n"), r"lt_train.txt has no image of class 1, of classes 0 to 3"),
        (
            "train",
            lambda text: text.replace(" 2\n", " 3\n"),
            r"balanced_train.txt, line 11: label 3 is out of range; .* 0 to 2",
        ),
        ("test", lambda text: text.replace(" 2\n", " 1\n"), "test.txt has no image of class 2"),
        (
            "train",
            lambda text: text + "pretrain/class0/0.jpg 1\n",
            "line 16: pretrain/class0/0.jpg has label 1, but 0 in another",
        ),
        ("train", lambda text: text + text, "balanced_train.txt, line 16 repeats train/class0/0.jpg of line 1"),
        ("pretrain", lambda text: text + "../../secret.jpg 0\n", "line 24: .* is not a path below the folder"),
        ("pretrain", lambda text: text + "a.jpg -1\n", "line 24: the label -1 is not a whole number"),
    ],
)
def test_a_mistake_in_a_list_is_told_before_anything_runs(root, mistake, role, change, said, tmp_path):
    _edit(root, role, change)
    asked = ["--datasets", "folderlt", "--preset", "smoke", "--batch-size", "4", "--methods", "simclr", "--device", "cpu"]
    assert re.search(said, mistake(*asked, "--data-root", root, "--out", tmp_path / "runs"))
    assert list((tmp_path / "runs").iterdir()) == []


def test_windows_line_ends_are_no_mistake(root):
    sums = []
    for ends in ("\n", "\r\n"):
        for name in FILES.values():
            file = root / "folderlt" / name
            file.write_bytes(file.read_text().replace("\n", ends).encode())
        sums.append(_opened(root)[0].source.checksum)
    assert sums[0] == sums[1]


def test_a_missing_list_or_folder_is_told(root):
    (root / "folderlt" / FILES["test"]).unlink()
    with pytest.raises(UserError, match=r"test\.txt is missing, the test list of folderlt; put it there"):
        _opened(root)
    with pytest.raises(UserError, match=r"nowhere.*lt_train\.txt is missing"):
        _opened(root / "nowhere")


def test_lists_are_asked_of_the_object_that_read_them(root):
    images, _, _ = _opened(root)
    with pytest.raises(ValueError, match="come with its images"):
        BENCHMARKS["folderlt"]().lists(images.train_labels, "own", 1)


# published lists


@pytest.fixture
def imagenet(root, monkeypatch):
    """ImageNet-100-LT with the small folder for ImageNet, its lists for the published ones, and no network."""
    declared = BENCHMARKS["imagenet100lt"]
    (root / "folderlt").rename(root / "imagenet")
    lists = root / "lists" / "imagenet100lt"
    lists.mkdir(parents=True)
    files = {}
    for role, name in FILES.items():
        content = (root / "imagenet" / name).read_bytes()
        (lists / name).write_bytes(content)
        files[role] = ListFile(name, "http://127.0.0.1:9/" + name, f"sha256:{hashlib.sha256(content).hexdigest()}")
    val = "".join(f"train/class{c}/4.jpg {c}\n" for c in range(3))
    (lists / "val.txt").write_text(val)
    files["val"] = ListFile("val.txt", "http://127.0.0.1:9/val.txt", images=3, smallest=1, largest=1)
    monkeypatch.setattr(declared, "files", files)
    monkeypatch.setattr(declared, "classes", 3)
    return lists


def test_published_lists_are_taken_where_they_lie(imagenet, root):
    images, lists, _ = _opened(root, "imagenet100lt")
    assert (len(lists.pretrain), len(lists.train), len(lists.val), len(lists.fewshot)) == (23, 15, 3, 0)
    assert images.source.name == "ImageNet by the lists of VITA-Group/SDCLR; images unverified"
    file = imagenet / "lt_train.txt"
    file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    assert _opened(root, "imagenet100lt")[0].source == images.source


def test_missing_lists_are_fetched_and_checked_before_they_are_kept(imagenet, root, monkeypatch):
    published = {name: (imagenet / name).read_bytes() for name in ("lt_train.txt", "val.txt")}

    def retrieve(url, known, scratch):
        name = url.rsplit("/", 1)[1]
        assert known is None or known == f"sha256:{hashlib.sha256(published[name]).hexdigest()}"
        (scratch / name).write_bytes(published[name])
        return str(scratch / name)

    monkeypatch.setattr("data.sources.fetch._retrieve", retrieve)
    for name in published:
        (imagenet / name).unlink()
    assert len(_opened(root, "imagenet100lt")[1].pretrain) == 23
    (imagenet / "val.txt").unlink()
    published["val.txt"] += b"train/class0/0.jpg 0\n"
    with pytest.raises(UserError, match=r"list val\.txt of ImageNet-100-LT is not at .*has 4 images, not 3"):
        _opened(root, "imagenet100lt")
    assert not (imagenet / "val.txt").exists()


def test_a_foreign_published_list_is_told(imagenet, root):
    file = imagenet / "lt_train.txt"
    file.write_text(file.read_text() + "train/class0/0.jpg 0\n")
    with pytest.raises(UserError, match=r"lt_train\.txt is truncated or not of ImageNet by .* its sha256 begins with"):
        _opened(root, "imagenet100lt")
    (imagenet / "val.txt").write_text("train/class0/0.jpg 0\ntrain/class0/1.jpg 0\n")
    file.unlink()
    with pytest.raises(
        UserError, match=r"list lt_train\.txt of ImageNet-100-LT is not at .*no connection\); put the file there"
    ):
        _opened(root, "imagenet100lt")


@pytest.mark.parametrize(
    ("val", "said"),
    [
        ("train/class0/0.jpg 0\n", "has 1 images, not 3"),
        ("train/class0/0.jpg 0\ntrain/class0/1.jpg 0\ntrain/class1/0.jpg 1\n", "has 2 images of its largest class, not 1"),
    ],
)
def test_a_list_without_a_published_sum_is_known_by_its_structure(imagenet, root, val, said):
    (imagenet / "val.txt").write_text(val)
    with pytest.raises(UserError, match=rf"val\.txt {said}; it is not ImageNet by the lists"):
        _opened(root, "imagenet100lt")


def test_a_passport_needs_lists_alone_and_says_which_are_missing(imagenet, root):
    (root / "imagenet").rename(root / "elsewhere")
    (imagenet / "balanced_train.txt").unlink()
    benchmark = BENCHMARKS["imagenet100lt"]()
    labels, source = benchmark.labels(root)
    assert len(labels) == 23 + 3
    assert source.name.endswith("WITHOUT balanced_train.txt, not there yet")
    with pytest.raises(UserError, match=r"balanced_train\.txt not in .*`bench\.py data imagenet100lt` fetches them"):
        benchmark.check(root)
    with pytest.raises(UserError, match="cannot be downloaded"):
        benchmark.load(root)


def test_no_folder_of_images_is_told_with_what_belongs_there(imagenet, root):
    (root / "imagenet").rename(root / "elsewhere")
    with pytest.raises(UserError, match=r"ImageNet-100-LT needs the folder .*imagenet, with ImageNet's `train/WNID"):
        _opened(root, "imagenet100lt")


def test_what_is_tested_must_not_be_learned(root):
    _edit(root, "test", lambda text: (root / "folderlt" / FILES["train"]).read_text())
    with pytest.raises(UserError, match=r"test\.txt share \d+ images, .*correct one of them"):
        _opened(root)


def test_the_test_list_agrees_on_labels(root):
    first = (root / "folderlt" / FILES["pretrain"]).read_text().split("\n")[0].rpartition(" ")
    _edit(root, "test", lambda text: text + f"{first[0]} {(int(first[2]) + 1) % 3}\n")
    with pytest.raises(UserError, match="has label"):
        _opened(root)


def test_few_shot_images_choose_nothing(root):
    train = (root / "folderlt" / FILES["train"]).read_text().splitlines()
    (root / "folderlt" / "fewshot_train.txt").write_text("\n".join(train[::5]) + "\n")
    _, lists, _ = _opened(root)
    assert len(lists.val)
    assert not set(lists.val.tolist()) & set(lists.fewshot.tolist())
    assert len(lists.fewshot) == len(train[::5])


@pytest.mark.parametrize("label", ["9000000000000", "9" * 5000])
def test_a_label_that_no_class_can_have_is_told(root, label):
    _edit(root, "pretrain", lambda text: text.replace(" 0\n", f" {label}\n", 1))
    with pytest.raises(UserError, match="label"):
        _opened(root)
