"""Class folders: layouts, drawn parts, and mistakes."""

import os
import re
from collections import Counter
from pathlib import Path

import pytest

from core.errors import UserError
from data.lists.class_folders import DRAWN, read_class_folders
from tests.folders import class_images, write_images

THREE = {"ant": 10, "bee": 5, "cat": 3}


def _counts(part):
    return [Counter(part.labels.tolist())[c] for c in range(3)]


def _state(folder: Path) -> list[tuple[str, int]]:
    return sorted((str(path), path.stat().st_mtime_ns) for path in (folder, *folder.rglob("*")))


def test_missing_parts_are_drawn_by_class_and_nothing_is_written(tmp_path):
    write_images(tmp_path, class_images(THREE))
    before = _state(tmp_path)
    found = read_class_folders(tmp_path)
    assert _state(tmp_path) == before
    assert found.class_names == ("ant", "bee", "cat")
    assert found.drawn == ("test", "val")
    assert {part: _counts(index) for part, index in found.parts.items()} == {
        "train": [7, 3, 1],
        "val": [1, 1, 1],
        "test": [2, 1, 1],
    }
    assert sorted(name for part in found.parts.values() for name in part.names) == sorted(class_images(THREE))
    for part in found.parts.values():
        assert [found.class_names[label] for label in part.labels] == [name.split("/")[0] for name in part.names]
    again = read_class_folders(tmp_path)
    assert [part.names for part in again.parts.values()] == [part.names for part in found.parts.values()]


@pytest.mark.parametrize("count", range(3, 45))
def test_a_fifth_and_a_tenth_of_every_class_are_drawn_but_at_least_one(tmp_path, count):
    write_images(tmp_path, class_images({"a": 3, "b": 4}))
    (tmp_path / "c").mkdir()
    for i in range(count):
        os.link(tmp_path / "a" / "0.png", tmp_path / "c" / f"{i}.png")
    drawn = {part: Counter(index.labels.tolist())[2] for part, index in read_class_folders(tmp_path).parts.items()}
    assert drawn["test"] == max(1, count // DRAWN["test"])
    assert drawn["val"] == max(1, count // DRAWN["val"])
    assert drawn["train"] == count - drawn["test"] - drawn["val"] >= 1


def _part_folders(names):
    return [name for part in names for name in class_images(THREE, f"{part}/")]


def _csv(folder, rows, columns="file_name,label"):
    folder.mkdir(exist_ok=True)
    (folder / "metadata.csv").write_text("\n".join([columns, *rows]) + "\n")


ROWS = [f"{i}.png,{label}" for i, label in enumerate("aaabbbccc")]


@pytest.mark.parametrize(
    ("folders", "drawn"),
    [
        (("train", "val", "test"), ()),
        (("train", "validation", "test"), ()),
        (("train", "valid", "test"), ()),
        (("train", "test"), ("val",)),
        (("train", "val"), ("test",)),
        (("train",), ("test", "val")),
        (("Train", "Val", "TEST"), ()),
        (("training", "validation", "testing"), ()),
    ],
)
def test_folders_of_parts_are_used_and_the_others_drawn(tmp_path, folders, drawn):
    write_images(tmp_path, _part_folders(folders))
    found = read_class_folders(tmp_path)
    assert found.drawn == drawn
    for part, index in found.parts.items():
        if part not in drawn and part.lower() not in ("train", "training"):
            assert _counts(index) == list(THREE.values())
    assert len({name for index in found.parts.values() for name in index.names}) == 18 * len(folders)


@pytest.mark.parametrize("where", ["root", "part"])
@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_metadata_files_give_the_labels(tmp_path, where, form):
    prefix = "train/" if where == "root" else ""
    write_images(tmp_path / "train", [f"{i}.png" for i in range(9)])
    holder = tmp_path if where == "root" else tmp_path / "train"
    rows = [(f"{prefix}{i}.png", i // 3 * 7) for i in range(9)]
    if form == "csv":
        _csv(holder, [f"{label},{name},text" for name, label in rows], "label,file_name,caption")
    else:
        lines = [f'{{"file_name": "{name}", "label": {label}, "caption": "text"}}' for name, label in rows]
        (holder / "metadata.jsonl").write_text("\n".join(lines) + "\n\n")
    found = read_class_folders(tmp_path)
    assert found.class_names == ("0", "7", "14")  # by number
    labelled = [pair for part in found.parts.values() for pair in zip(part.names, part.labels.tolist(), strict=True)]
    assert sorted(labelled) == [(f"train/{i}.png", i // 3) for i in range(9)]


def test_metadata_without_labels_leaves_the_class_folders(tmp_path):
    write_images(tmp_path, class_images(THREE))
    _csv(tmp_path, ["ant/0.png,text"], "file_name,caption")
    assert read_class_folders(tmp_path).class_names == tuple(THREE)


def test_a_class_may_have_the_name_of_a_part_and_hidden_files_are_no_images(tmp_path):
    write_images(tmp_path, class_images({"bus": 3, "train": 3, "test": 3, "car/deep": 3}))
    for name in (".hidden.png", "._0.png", "notes.txt"):
        (tmp_path / "bus" / name).touch()
    write_images(tmp_path, class_images({".cache": 2, "__MACOSX": 2}))
    os.symlink(tmp_path, tmp_path / "bus" / "above")
    found = read_class_folders(tmp_path)
    assert found.class_names == ("bus", "car", "test", "train")
    assert sum(len(part.names) for part in found.parts.values()) == 12


def test_images_that_are_not_used_are_reported(tmp_path, caplog):
    write_images(tmp_path, [*class_images(THREE), "logo.png"])
    read_class_folders(tmp_path)
    assert "1 image is in no class folder and not used: logo.png" in caplog.text
    write_images(tmp_path / "parts", _part_folders(("train", "tets")))
    read_class_folders(tmp_path / "parts")
    assert "images in tets are not used" in caplog.text
    write_images(tmp_path / "flat", [*_part_folders(["train"]), "test/0.png", "test/1.png"])
    read_class_folders(tmp_path / "flat")
    assert re.search("2 images are in no class folder and not used: test/0.png, test/1.png", caplog.text)


def test_classes_of_equal_numbers_are_in_the_order_of_their_names(tmp_path):
    write_images(tmp_path, class_images({"1": 3, "01": 3, "001": 3, "0": 3, "10": 3}))
    assert read_class_folders(tmp_path).class_names == ("0", "001", "01", "1", "10")


def test_the_digest_depends_on_paths_classes_and_sizes_and_not_on_the_place(tmp_path):
    write_images(tmp_path / "one", class_images(THREE))
    first = read_class_folders(tmp_path / "one")
    (tmp_path / "one").rename(tmp_path / "two")
    assert read_class_folders(tmp_path / "two").digest == first.digest
    digests = {first.digest}
    for change in (
        lambda: (tmp_path / "two" / "ant" / "0.png").rename(tmp_path / "two" / "bee" / "9.png"),
        lambda: (tmp_path / "two" / "ant").rename(tmp_path / "two" / "wasp"),
        lambda: (tmp_path / "two" / "cat" / "0.png").write_bytes(b"another size"),
        lambda: write_images(tmp_path / "two", ["cat/7.png"]),
    ):
        change()
        digests.add(read_class_folders(tmp_path / "two").digest)
    assert len(digests) == 5


def _empty(file):
    file.write_bytes(b"")


MISTAKES = {  # what is in the folder, and what is said about it; " .* " stands for any text
    "no folder": (lambda folder: folder.rmdir(), "does not exist"),
    "a file": (lambda folder: (folder.rmdir(), folder.touch()), "is not a folder"),
    "empty": (lambda folder: None, "contains no image"),
    "no class folder": (lambda folder: write_images(folder, ["0.png", "1.png"]), "holds 2 images, but none in a class folder"),
    "one class": (lambda folder: write_images(folder, class_images({"a": 9})), "has 1 class of training images ('a')"),
    "two classes": (lambda folder: write_images(folder, class_images({"a": 9, "b": 9})), "has 2 classes of training images"),
    "too few": (
        lambda folder: write_images(folder, class_images(THREE | {"c": 2, "d": 1})),
        "2 of 5 classes .* are too small: 'c' (2), 'd' (1); a split into train and test and val needs 3 training images",
    ),
    "too few for validation": (
        lambda folder: write_images(folder, _part_folders(["test"]) + class_images(THREE | {"cat": 1}, "train/")),
        "1 of 3 classes .* is too small: 'cat' (1); a split into train and val needs 2 training images of each",
    ),
    "same part twice": (
        lambda folder: write_images(folder, _part_folders(["train", "val", "valid"])),
        "has the folders val and valid for the same part",
    ),
    "same looks": (
        lambda folder: write_images(folder, class_images(THREE | {"ant\u200b": 3})),
        "look the same: 'ant', 'ant\\u200b'",
    ),
    "same letters": (lambda folder: write_images(folder, class_images(THREE | {"Ant": 3})), "look the same: 'Ant', 'ant'"),
    "parts of other names": (
        lambda folder: write_images(folder, [*_part_folders(["seg_train", "seg_test"]), "seg_pred/0.png"]),
        "has the folders seg_test and seg_train, with folders or a metadata file in them; rename them to train, val and test",
    ),
    "parts of other names with metadata": (
        lambda folder: [
            (write_images(folder / part, [f"{i}.png" for i in range(9)]), _csv(folder / part, ROWS))
            for part in ("seg_train", "seg_val", "seg_test")
        ],
        "has the folders seg_test and seg_train and seg_val, with folders or a metadata file in them",
    ),
    "parts in two cases": (
        lambda folder: write_images(folder, _part_folders(["train", "Train"])),
        "has the folders Train and train for the same part",
    ),
    "some in a part": (
        lambda folder: (
            write_images(folder, [f"{part}/{i}.png" for i in range(9) for part in ("testing_set", "train")]),
            _csv(folder, [f"{part}/{row}" for row in ROWS for part in ("testing_set", "train")]),
        ),
        "9 images in the metadata file of .* are in no folder of a part (train, val, test), but others are: testing_set/0.png",
    ),
    "foreign test class": (
        lambda folder: write_images(folder, _part_folders(["train"]) + class_images(THREE | {"dog": 3}, "test/")),
        "has test images of classes without training images: 'dog'",
    ),
    "class not tested": (
        lambda folder: write_images(folder, _part_folders(["train"]) + class_images({"ant": 3}, "test/")),
        "has no test images of 'bee', 'cat'",
    ),
    "one validation class": (
        lambda folder: write_images(folder, _part_folders(["train", "test"]) + class_images({"ant": 3}, "val/")),
        "has validation images of one class, 'ant'",
    ),
    "empty files": (
        lambda folder: (write_images(folder, class_images(THREE)), [_empty(folder / "ant" / f"{i}.png") for i in range(5)]),
        "has 5 empty image files: ant/0.png, ant/1.png, ant/2.png and 2 more",
    ),
    "missing in metadata": (
        lambda folder: (write_images(folder, ["0.png", "1.png"]), _csv(folder, ROWS)),
        "7 of 9 images in .* are missing: 2.png, 3.png, 4.png and 4 more",
    ),
    "twice in metadata": (
        lambda folder: (write_images(folder, ["0.png"]), _csv(folder, ["0.png,a", "0.png,b"])),
        "metadata.csv names 1 image more than once: 0.png",
    ),
    "two metadata files": (
        lambda folder: (_csv(folder, ROWS), (folder / "metadata.jsonl").touch()),
        "has metadata.csv and metadata.jsonl; keep one",
    ),
    "empty label": (lambda folder: _csv(folder, ["0.png, "]), "row 2 has an empty file_name or label: '0.png', ' '"),
    "no file names": (lambda folder: _csv(folder, ["0.png,a"], "name,label"), "metadata.csv has no column file_name"),
    "short row": (lambda folder: _csv(folder, ["0.png"]), "row 2 has 1 value, not 2"),
    "no JSON": (lambda folder: (folder / "metadata.jsonl").write_text("{}\n"), "line 1 has no file_name and label"),
    "a line without label": (
        lambda folder: (folder / "metadata.jsonl").write_text('{"file_name": "0.png", "label": 1}\n{"file_name": "1.png"}\n'),
        "line 2 has no label",
    ),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes(tmp_path, case):
    make, said = MISTAKES[case]
    folder = tmp_path / "images"
    folder.mkdir()
    make(folder)
    with pytest.raises(UserError) as error:
        read_class_folders(folder)
    message = str(error.value)
    assert len(message.splitlines()) == 1
    assert re.search(".*".join(map(re.escape, said.split(" .* "))), message), message
