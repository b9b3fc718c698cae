"""Webdataset shards: layouts, samples and labels, equality with class folders, and mistakes."""

import gzip
import json
import re
from collections import Counter
from io import BytesIO
from itertools import chain

import numpy as np
import pytest
import webdataset
from PIL import Image

from core.errors import UserError
from data.datasets.image_folder import enter, folder_benchmark
from data.lists.class_folders import read_class_folders
from data.lists.webdataset import read_shards
from data.views.backend import BACKENDS
from data.views.spec import Evaluation
from tests.folders import class_images, write_images, write_shard, write_tar

THREE = {"ant": 10, "bee": 5, "cat": 3}
ALL = ["train", "val", "test"]


def _image(number: int = 0) -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (40, 36 + number % 5), (37 * number % 256, 91 * number % 256, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def _sample(key: str, label: str, number: int = 0) -> dict[str, bytes]:
    return {f"{key}.png": _image(number), f"{key}.cls": label.encode()}


def _samples(classes: str) -> dict[str, bytes]:
    """Samples of classes with names of one letter."""
    return {name: content for i, c in enumerate(classes) for name, content in _sample(f"{i:04d}", c, i).items()}


def _labelled(found):
    """Part and class name of every image, by name."""
    parts = found.parts.items()
    return {name: (p, found.class_names[c]) for p, part in parts for name, c in zip(part.names, part.labels, strict=True)}


LAYOUTS = {  # paths of the shards, and the parts of their images; None: to be drawn from
    "no part": (["00000.tar", "00001.tar"], [None, None]),
    "names": (["train-000012.tar", "val-00.tar", "test_7.tar"], ALL),
    "imagenet of timm": (["imagenet1k-train-0000.tar", "imagenet1k-validation-03.tar", "imagenet1k-test-0.tar"], ALL),
    "folders": (["train/00000.tar", "valid/00000.tar", "test/00000.tar"], ALL),
    "folders in a folder": (["data/Train/a.tar", "data/val/a.tar", "data/test-2/a.tar"], ALL),
    "test only": (["train.tar", "test.tar"], [None, "test"]),
    "no word": (["trained-0.tar", "latest-0.tar"], [None, None]),
}


@pytest.mark.parametrize("case", LAYOUTS)
def test_the_part_is_a_word_of_the_path(tmp_path, case):
    shards, parts = LAYOUTS[case]
    for shard in shards:
        write_tar(tmp_path / shard, _samples("aaabbbccc"))
    found = read_class_folders(tmp_path)
    drawn = {part for part in ("test", "val") if part not in parts}
    assert set(found.drawn) == drawn
    labelled = _labelled(found)
    for shard, part in zip(shards, parts, strict=True):
        of_shard = Counter(p for name, (p, _) in labelled.items() if name.startswith(f"{shard}/"))
        assert of_shard.total() == 9
        assert part in (None, "train") or of_shard == {part: 9}
    assert {name: c for name, (_, c) in labelled.items()} == {
        f"{shard}/{i:04d}.png": c for shard in shards for i, c in enumerate("aaabbbccc")
    }


LABELS = {  # members of a sample beside its image, and the label
    "integer": ({"k.cls": b"7"}, "7"),
    "line end": ({"k.cls": b"7\r\n"}, "7"),
    "class name": ({"k.cls": " grosser Bär".encode()}, "grosser Bär"),
    "upper case": ({"k.CLS": b"7"}, "7"),
    "json integer": ({"k.json": b'{"label": 12, "caption": "text"}'}, "12"),
    "json text": ({"k.json": b'{"label": "a cat"}'}, "a cat"),
    "cls before json": ({"k.json": b'{"label": "tench"}', "k.cls": b"0"}, "0"),
    "cls with any json": ({"k.json": b"no json", "k.cls": b"0"}, "0"),
    "further members": ({"k.cls": b"1", "k.txt": b"caption", "k.seg.png": b"mask", "k.index": b"3"}, "1"),
}


@pytest.mark.parametrize("suffix", ["jpg", "JPEG", "png", "webp"])
@pytest.mark.parametrize("case", LABELS)
def test_labels_and_extensions(tmp_path, case, suffix):
    fields, label = LABELS[case]
    others = {"README": b"", "._k.jpg": b"", "__meta__/a.jpg": b"", "caption.json": b"{}", "caption.txt": b""}
    write_tar(tmp_path / "0.tar", fields | {f"k.{suffix}": b"12345"} | others)
    assert read_shards(tmp_path, ["0.tar"], [".jpg", ".jpeg", ".png", ".webp"]) == [("0.tar", f"0.tar/k.{suffix}", label, 5)]


def test_the_key_ends_at_the_first_dot_of_the_file_name(tmp_path):
    write_tar(tmp_path / "0.tar", _sample("v1.0/a", "x") | _sample("v1.0/b", "y") | _sample("./a", "z"))
    assert [(name, label) for _, name, label, _ in read_shards(tmp_path, ["0.tar"], [".png"])] == [
        ("0.tar/v1.0/a.png", "x"),
        ("0.tar/v1.0/b.png", "y"),
        ("0.tar/a.png", "z"),
    ]


def test_shards_by_the_library_webdataset(tmp_path):
    for part, size in (("train", 30), ("val", 6), ("test", 9)):
        with webdataset.ShardWriter(f"{tmp_path}/{part}-%06d.tar", maxcount=8, verbose=0) as shards:
            for i in range(size):
                pixels = np.full((40, 40, 3), 8 * i, dtype=np.uint8)
                shards.write({"__key__": f"{part}/{i:05d}", "png": pixels, "cls": i % 3, "json": {"caption": "text"}})
    benchmark = folder_benchmark(enter(tmp_path))()
    images = benchmark.load(tmp_path)
    assert benchmark.class_names == ("0", "1", "2")
    assert len(list(tmp_path.glob("train-*.tar"))) == 4
    lists = benchmark.lists(images.train_labels, "natural", 1)
    assert (len(lists.train), len(lists.val), len(images.test)) == (30, 6, 9)
    numbers = [int(name.rpartition("/")[2].removesuffix(".png")) for name in images.test.names()]
    assert [number % 3 for number in numbers] == images.test_labels.tolist()
    pixels = images.test.read().decode_each(lambda _, picture: picture.getpixel((0, 0)))
    assert pixels == [(8 * number,) * 3 for number in numbers]


@pytest.mark.parametrize("parts", [["train"], ["train", "test"], ALL])
def test_the_images_of_class_folders_in_shards_have_the_same_labels_pixels_and_sizes(tmp_path, parts):
    names = [name for part in parts for name in class_images(THREE, f"{part}/")]
    write_images(tmp_path / "plain", names)
    for part in parts:
        images = {
            name.removeprefix(f"{part}/").removesuffix(".png"): tmp_path / "plain" / name for name in names if part in name
        }
        keys = list(images)
        for number in range(2):
            write_shard(tmp_path / "packed" / f"{part}-{number:06d}.tar", {key: images[key] for key in keys[number::2]})
    own, other = (_shown(tmp_path / name) for name in ("plain", "packed"))
    assert {part: [label for label, _ in images] for part, images in own.items()} == {
        part: [label for label, _ in images] for part, images in other.items()
    }
    assert sorted(chain(*own.values())) == sorted(chain(*other.values()))
    assert parts != ALL or own == other  # else images are drawn from a list in the order of paths, which differ


def _shown(folder):
    """Class and pixels, by the evaluation path, of the images of each part in sorted order."""
    benchmark = folder_benchmark(enter(folder))()
    images = benchmark.load(folder)
    lists = benchmark.lists(images.train_labels, "natural", 1)
    assert benchmark.class_names == tuple(THREE)
    sets = {"train": (images.train[lists.train], images.train_labels[lists.train]), "test": (images.test, images.test_labels)}
    sets["val"] = images.train[lists.val], images.train_labels[lists.val]
    found = {}
    for part, (files, labels) in sets.items():
        pixels = BACKENDS["torch"](()).evaluate(files, Evaluation(resize=16, crop=16)).flatten(1)
        found[part] = sorted(zip(labels.tolist(), pixels.tolist(), strict=True))
    return found


def test_the_digest_depends_on_samples_and_not_on_the_place(tmp_path):
    write_tar(tmp_path / "one" / "0.tar", _samples("aaabbbccc"))
    first = read_class_folders(tmp_path / "one").digest
    (tmp_path / "one").rename(tmp_path / "two")
    assert read_class_folders(tmp_path / "two").digest == first
    digests = {first}
    for name, samples in {
        "0.tar": _samples("aaabbbcccb"),
        "1.tar": _samples("aaabbbccc"),
        "2.tar": _samples("aaabbbccc") | {"0000.png": _image() + b"longer"},
    }.items():
        (file,) = (tmp_path / "two").iterdir()
        file.unlink()
        write_tar(tmp_path / "two" / name, samples)
        digests.add(read_class_folders(tmp_path / "two").digest)
    assert len(digests) == 4


def test_what_is_not_used_is_reported(tmp_path, caplog):
    write_images(tmp_path / "folders", class_images(THREE))
    write_tar(tmp_path / "folders" / "download.tar", {})
    (tmp_path / "folders" / "other.tar.gz").touch()
    assert read_class_folders(tmp_path / "folders").class_names == tuple(THREE)
    assert "2 tar files are not used, as there are image files: download.tar, other.tar.gz" in caplog.text
    for name in ("train-0.tar", "extra.tar"):
        write_tar(tmp_path / "shards" / name, _samples("aaabbbccc"))
    write_images(tmp_path / "shards", ["logo.png"])
    assert len(_labelled(read_class_folders(tmp_path / "shards"))) == 18
    assert "1 image file is in no shard and not used: logo.png" in caplog.text
    assert "1 shard without a part in the path is of training images: extra.tar" in caplog.text


GOOD = _samples("aaabbbccc")
UNLABELLED = {f"{i}.png": b"1" for i in range(5)}

MISTAKES = {  # members by shard, and what is said about them; " .* " stands for any text
    "no images": ({"0.tar": {"a.txt": b""}}, "contains no image"),
    "no shard of training images": (
        {"val.tar": GOOD},
        "holds 9 images, but none in a class folder or a shard of training images",
    ),
    "two parts": ({"train/val-0.tar": GOOD}, "train/val-0.tar has the names train and val of parts in its path; rename it"),
    "no label": (
        {"0.tar": GOOD | UNLABELLED, "1.tar": UNLABELLED},
        "10 samples in .* have no label: 0.tar/0, 0.tar/1, 0.tar/2 and 7 more; add KEY.cls, or KEY.json with the field label",
    ),
    "class folders in a tar file": ({"0.tar": {f"{c}/1.png": b"1" for c in "abc"}}, "3 samples in .* have no label: 0.tar/a/1"),
    "empty label": ({"0.tar": GOOD | {"k.png": b"1", "k.cls": b" \n"}}, "1 samples in .* have no label: 0.tar/k"),
    "json without label": ({"0.tar": GOOD | {"k.png": b"1", "k.json": b"{}"}}, "1 samples in .* have no label: 0.tar/k"),
    "two images": (
        {"0.tar": GOOD | {"k.png": b"1", "k.jpg": b"1", "k.cls": b"a"}},
        "1 samples in .* have several images: 0.tar/k; keep one; the key of a sample ends at the first dot",
    ),
    "dots in names": ({"0.tar": GOOD | _sample("k.1", "a")}, "1 samples in .* have no image: 0.tar/k; write it as KEY.jpg"),
    "two labels": ({"0.tar": GOOD | _sample("k", "a") | {"k.CLS": b"b"}}, "have several labels: 0.tar/k; keep one"),
    "a label without image": ({"0.tar": GOOD | {"k.cls": b"a"}}, "1 samples in .* have no image: 0.tar/k"),
    "a label of several lines": (
        {"0.tar": GOOD | _sample("k", "a\nb")},
        "1 samples in .* have a label that cannot be read: 0.tar/k.cls (it has several lines); correct it",
    ),
    "a label in another encoding": ({"0.tar": GOOD | {"k.png": b"1", "k.cls": b"\xff"}}, "0.tar/k.cls (it is not UTF-8)"),
    "no json": ({"0.tar": GOOD | {"k.png": b"1", "k.json": b"{"}}, "0.tar/k.json (Input data was truncated)"),
    "another type": (
        {"0.tar": GOOD | {"k.png": b"1", "k.json": json.dumps({"label": [1]}).encode()}},
        "0.tar/k.json (Expected",
    ),
    "empty image": ({"0.tar": GOOD | {"k.png": b"", "k.cls": b"a"}}, "has 1 empty image file: 0.tar/k.png"),
    "two classes": ({"0.tar": _samples("aaabbb")}, "has 2 classes of training images ('a', 'b')"),
    "foreign test class": (
        {"train.tar": GOOD, "test.tar": _samples("abcd")},
        "has test images of classes without training images: 'd'",
    ),
}


def _refused(folder, said):
    with pytest.raises(UserError) as error:
        read_class_folders(folder)
    message = str(error.value)
    assert len(message.splitlines()) == 1
    assert re.search(".*".join(map(re.escape, said.split(" .* "))), message), message


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes(tmp_path, case):
    shards, said = MISTAKES[case]
    for shard, samples in shards.items():
        write_tar(tmp_path / shard, samples)
    _refused(tmp_path, said)


@pytest.mark.parametrize("suffix", [".tar.gz", ".tgz", ".tar.zst", ".tar.bz2", ".tar.xz"])
@pytest.mark.parametrize("beside", [True, False])
def test_compressed_shards_are_refused(tmp_path, suffix, beside):
    if beside:
        write_tar(tmp_path / "train-0.tar", GOOD)
    (tmp_path / f"train-1{suffix}").write_bytes(gzip.compress(b""))
    _refused(tmp_path, f"1 shard in .* is compressed: train-1{suffix}; decompress them")


def test_a_truncated_shard_is_named(tmp_path):
    for i in range(3):
        write_tar(tmp_path / f"{i}.tar", GOOD)
    (tmp_path / "1.tar").write_bytes((tmp_path / "1.tar").read_bytes()[:3000])
    _refused(tmp_path, "1.tar is truncated, damaged or not an uncompressed tar file")
