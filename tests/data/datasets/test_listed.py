"""FolderLT: a user-defined benchmark in a temporary folder."""

import re
from collections import Counter

import numpy as np
import pytest

from core.errors import UserError
from data.benchmark import BENCHMARKS, MissingData
from data.image_files import ImageFiles
from data.lists.holdout import hold_out_tenth
from data.passport import read_passports
from tests.data.datasets.opening import opened
from tests.folders import FILES


def _edit(root, role, change):
    file = root / "folderlt" / FILES[role]
    file.write_text(change(file.read_text()))


def test_lists_point_into_one_set_of_distinct_images(root):
    _edit(root, "train", lambda text: text + "pretrain/class1/0.jpg 1\n")
    images, lists, benchmark = opened(root)
    assert isinstance(images.train, ImageFiles)
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
    images, lists, _ = opened(root)
    assert Counter(images.train_labels[lists.val].tolist()) == {0: 1, 1: 1, 2: 1}
    assert len(lists.train) == 12
    assert not set(lists.val.tolist()) & set(lists.train.tolist())
    assert images.source.name.endswith("; validation list of this suite")
    again = opened(root)[1]
    assert np.array_equal(lists.val, again.val)
    (root / "folderlt" / "val.txt").write_text("train/class0/0.jpg 0\ntrain/class1/0.jpg 1\ntrain/class2/0.jpg 2\n")
    images, lists, _ = opened(root)
    assert "this suite" not in images.source.name
    assert len(lists.val) == 3


def test_without_a_labelled_list_probes_learn_from_the_long_tail(root):
    (root / "folderlt" / FILES["train"]).unlink()
    images, lists, _ = opened(root)
    assert "probes learn from the long-tailed labels; validation list of this suite" in images.source.name
    assert Counter(images.train_labels[lists.train].tolist()) == {0: 11, 1: 6, 2: 3}
    assert sorted([*lists.train, *lists.val]) == sorted(lists.pretrain)


@pytest.mark.parametrize(
    ("lists", "said"),
    [
        (
            {"train": None, "val": [f"pretrain/class2/{i}.jpg 2" for i in range(4)] + ["pretrain/class0/0.jpg 0"]},
            "the validation list has all labelled images of class 2; remove some of them",
        ),
        ({"train": [f"train/class{c}/0.jpg {c}" for c in range(3)]}, "fewer than two classes have the two labelled images"),
        (
            {"train": [*(f"train/class{c}/0.jpg {c}" for c in range(3)), "train/class1/1.jpg 1"]},
            "fewer than two classes have the two labelled images",
        ),
    ],
)
def test_lists_that_cannot_be_completed_are_refused(root, lists, said):
    for role, lines in lists.items():
        file = root / "folderlt" / {"train": FILES["train"], "val": "val.txt"}[role]
        file.unlink(missing_ok=True)
        if lines is not None:
            file.write_text("\n".join(lines) + "\n")
    with pytest.raises(UserError, match=said):
        opened(root)


def test_a_tenth_is_held_out_but_at_least_one_and_never_the_last():
    labels = np.repeat([0, 1, 2, 3], [25, 9, 2, 1])
    kept, held = hold_out_tenth(np.arange(len(labels)), labels)
    assert np.bincount(labels[held], minlength=4).tolist() == [2, 1, 1, 0]
    assert sorted([*kept, *held]) == list(range(len(labels)))


def test_images_that_are_validation_and_training_at_once_are_reported(root, caplog):
    (root / "folderlt" / "val.txt").write_text("train/class0/0.jpg 0\npretrain/class1/0.jpg 1\n")
    opened(root)
    assert "folderlt: 1 validation images are also labelled training images" in caplog.text


@pytest.mark.parametrize(
    ("role", "change", "said"),
    [
        (
            "pretrain",
            lambda text: text.replace("0/3.jpg", "0/gone.jpg"),
            "1 of 47 images .* missing in .*: pretrain/class0/gone.jpg;",
        ),
        ("test", lambda text: text.replace("/class", "/klass"), "9 of 47 images .*klass0/0.jpg, .* and 6 more;"),
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
        ("train", lambda text: text + text, "balanced_train.txt, line 16 duplicates train/class0/0.jpg of line 1"),
        ("pretrain", lambda text: text + "../../secret.jpg 0\n", "line 24: .* is not a relative path below the image folder"),
        ("pretrain", lambda text: text + "a.jpg -1\n", "line 24: the label '-1' is not an integer >= 0"),
    ],
)
def test_a_mistake_in_a_list_is_reported_before_anything_runs(root, mistake, role, change, said, tmp_path):
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
        _, lists, benchmark = opened(root)
        sums.append(benchmark.checksums(lists))
    assert sums[0] == sums[1]


def test_a_missing_list_or_folder_is_reported(root):
    (root / "folderlt" / FILES["test"]).unlink()
    with pytest.raises(UserError, match=r"test\.txt is missing, the test list of folderlt; put it there"):
        opened(root)
    both = r"2 index files of folderlt are missing in .*nowhere/folderlt: lt_train\.txt \(pretrain\), test\.txt \(test\); put"
    with pytest.raises(UserError, match=both):
        opened(root / "nowhere")


@pytest.mark.parametrize(
    ("lists", "said"),
    [
        ({"balanced_train.txt": (0, 1)}, r"balanced_train\.txt has no image of class 2, of classes 0 to 2; correct the list"),
        ({"val.txt": (1,)}, r"val\.txt has images of class 1 only; add images of the other classes"),
        ({"val.txt": (0, 2)}, None),
    ],
)
def test_lists_of_too_few_classes_are_refused(root, lists, said):
    for name, classes in lists.items():
        (root / "folderlt" / name).write_text("".join(f"train/class{c}/1.jpg {c}\n" for c in classes))
    if said is None:
        opened(root)
        return
    with pytest.raises(UserError, match=said):
        opened(root)


def test_a_few_shot_list_of_too_few_classes_is_a_warning(root, caplog):
    (root / "folderlt" / "fewshot_train.txt").write_text("train/class1/0.jpg 1\n")
    opened(root)
    assert "fewshot_train.txt has no image of class 0, 2, of classes 0 to 2: its probes never predict" in caplog.text


@pytest.mark.parametrize("label", ["1\u200b", "\u00a01", "1\u2009", "\ufeff1", "\u0661"])
def test_invisible_characters_of_a_label_are_shown(root, label):
    _edit(root, "train", lambda text: text + f"pretrain/class1/0.jpg {label}\n")
    with pytest.raises(UserError) as error:
        opened(root)
    assert f"line 16: the label {label!r} is not an integer" in str(error.value)


def test_all_missing_images_are_counted_at_once(root):
    for role in ("pretrain", "train", "test"):
        (root / "folderlt" / role / "class0" / "0.jpg").unlink()
    named = r"3 of 47 images .* missing in .*: pretrain/class0/0\.jpg, train/class0/0\.jpg, test/class0/0\.jpg;"
    with pytest.raises(MissingData, match=named):
        opened(root)


def test_lists_need_the_object_that_read_them(root):
    images, _, _ = opened(root)
    with pytest.raises(ValueError, match="are read with its images"):
        BENCHMARKS["folderlt"]().lists(images.train_labels, "own", 1)


def test_test_images_must_not_be_training_images(root):
    _edit(root, "test", lambda text: (root / "folderlt" / FILES["train"]).read_text())
    with pytest.raises(UserError, match=r"test\.txt share \d+ images, .*correct one of them"):
        opened(root)


def test_the_test_list_agrees_on_labels(root):
    first = (root / "folderlt" / FILES["pretrain"]).read_text().split("\n")[0].rpartition(" ")
    _edit(root, "test", lambda text: text + f"{first[0]} {(int(first[2]) + 1) % 3}\n")
    with pytest.raises(UserError, match="has label"):
        opened(root)


def test_few_shot_images_choose_nothing(root):
    train = (root / "folderlt" / FILES["train"]).read_text().splitlines()
    (root / "folderlt" / "fewshot_train.txt").write_text("\n".join(train[::5]) + "\n")
    _, lists, _ = opened(root)
    assert len(lists.val)
    assert not set(lists.val.tolist()) & set(lists.fewshot.tolist())
    assert len(lists.fewshot) == len(train[::5])


@pytest.mark.parametrize("label", ["9000000000000", "9" * 5000])
def test_a_label_that_no_class_can_have_is_reported(root, label):
    _edit(root, "pretrain", lambda text: text.replace(" 0\n", f" {label}\n", 1))
    with pytest.raises(UserError, match="label"):
        opened(root)


# the balanced twin


@pytest.fixture
def twin(root):
    """The balanced list with equal class counts; disjoint from the probe images."""
    lines = [f"pretrain/class{c}/{i}.jpg {c}\n" for c in range(3) for i in range(4)]
    (root / "folderlt" / "balanced_twin.txt").write_text("".join(lines))
    return lines


def test_the_balanced_list_is_trained_on_and_grouped_as_the_long_tailed_list(root, twin):
    images, lists, benchmark = opened(root, profile="balanced")
    assert Counter(images.train_labels[lists.pretrain].tolist()) == {0: 4, 1: 4, 2: 4}
    assert benchmark.group_counts(images.train_labels, "balanced", 1).tolist() == [12, 7, 4]
    assert benchmark.group_counts(images.train_labels, "own", 1).tolist() == [12, 7, 4]
    own, balanced = (read_passports(benchmark, profile, [1], root)[0] for profile in ("own", "balanced"))
    assert own.pretraining != balanced.pretraining
    assert own.line != balanced.line
    assert "(profile balanced): 12 images, 4 of every class, ratio 1; the user's own lists" in balanced.line
    assert "groups    class counts of the long-tailed set: 12 7 4\n" in balanced.text()
    assert balanced.lists["val"] == own.lists["val"]


def test_an_uneven_balanced_list_is_grouped_as_the_long_tailed_list_too(root, twin):
    (root / "folderlt" / "balanced_twin.txt").write_text("".join(twin[:-1]))
    images, _, benchmark = opened(root, profile="balanced")
    assert benchmark.group_counts(images.train_labels, "balanced", 1).tolist() == [12, 7, 4]


def test_a_balanced_list_that_is_missing_or_tested_is_reported(root, twin):
    _edit(root, "test", lambda text: text + twin[0])
    _edit(root, "pretrain", lambda text: text.replace(twin[0], ""))
    with pytest.raises(UserError, match=r"balanced_twin\.txt and .*test\.txt share 1 image,"):
        opened(root)
    (root / "folderlt" / "balanced_twin.txt").unlink()
    opened(root)
    with pytest.raises(
        MissingData, match=r"balanced_twin\.txt is missing, the balanced list of folderlt; put it into folderlt"
    ):
        opened(root, profile="balanced")
