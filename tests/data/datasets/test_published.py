"""Benchmarks with published index files, on a small substitute for ImageNet."""

import hashlib

import pytest

from core.errors import UserError
from data.benchmark import BENCHMARKS, MissingData
from data.datasets.listed import ListFile
from data.lists.index_file import read_index_file
from data.passport import read_passports
from tests.data.datasets.opening import opened
from tests.folders import FILES


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


def test_published_lists_are_read_from_the_data_root(imagenet, root):
    images, lists, benchmark = opened(root, "imagenet100lt")
    assert (len(lists.pretrain), len(lists.train), len(lists.val), len(lists.fewshot)) == (23, 15, 3, 0)
    assert images.source.name == "ImageNet by the lists of VITA-Group/SDCLR; images unverified"
    file = imagenet / "lt_train.txt"
    file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    assert opened(root, "imagenet100lt")[2].checksums(lists) == benchmark.checksums(lists)


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
    assert len(opened(root, "imagenet100lt")[1].pretrain) == 23
    (imagenet / "val.txt").unlink()
    published["val.txt"] += b"train/class0/0.jpg 0\n"
    with pytest.raises(UserError, match=r"index file val\.txt of ImageNet-100-LT is not at .*has 4 images, not 3"):
        opened(root, "imagenet100lt")
    assert not (imagenet / "val.txt").exists()


def test_a_published_list_of_other_content_is_reported(imagenet, root):
    file = imagenet / "lt_train.txt"
    file.write_text(file.read_text() + "train/class0/0.jpg 0\n")
    with pytest.raises(UserError, match=r"lt_train\.txt is truncated or not of ImageNet by .* its sha256 starts with"):
        opened(root, "imagenet100lt")
    (imagenet / "val.txt").write_text("train/class0/0.jpg 0\ntrain/class0/1.jpg 0\n")
    file.unlink()
    with pytest.raises(
        UserError, match=r"index file lt_train\.txt of ImageNet-100-LT is not at .*no connection\); put the file there"
    ):
        opened(root, "imagenet100lt")


@pytest.mark.parametrize(
    ("val", "said"),
    [
        ("train/class0/0.jpg 0\n", "has 1 image, not 3"),
        ("train/class0/0.jpg 0\ntrain/class0/1.jpg 0\ntrain/class1/0.jpg 1\n", "has 2 images of its largest class, not 1"),
    ],
)
def test_a_list_without_a_published_sum_is_checked_by_its_structure(imagenet, root, val, said):
    (imagenet / "val.txt").write_text(val)
    with pytest.raises(UserError, match=rf"val\.txt {said}; it is not ImageNet by the lists"):
        opened(root, "imagenet100lt")


def test_a_passport_needs_lists_alone_and_says_which_are_missing(imagenet, root):
    (root / "imagenet").rename(root / "elsewhere")
    (imagenet / "balanced_train.txt").unlink()
    benchmark = BENCHMARKS["imagenet100lt"]()
    (passport,) = read_passports(benchmark, "sdclr", [1], root)
    assert len(benchmark.labels(root)[0]) == 23 + 3
    assert "missing   balanced_train.txt" in passport.text()
    assert "not there" not in passport.line
    with pytest.raises(MissingData, match=r"balanced_train\.txt not in .*`bench\.py data imagenet100lt` downloads them"):
        benchmark.load(root, fetch=False)
    with pytest.raises(UserError, match="cannot be downloaded"):
        benchmark.load(root)


def test_only_lists_that_are_needed_are_fetched_and_checked(imagenet, root):
    """The full-shot list is not there, nor the images of the validation list."""
    (imagenet / "balanced_train.txt").unlink()
    for c in range(3):
        (root / "imagenet" / "train" / f"class{c}" / "4.jpg").unlink()
    images, lists, benchmark = opened(root, "imagenet100lt", needs={"pretrain", "test"})
    assert (len(lists.pretrain), len(images.test)) == (23, 9)
    assert benchmark.missing_files(root, {"fewshot"}) == []
    assert benchmark.missing_files(root, {"train"}) == ["balanced_train.txt"]
    with pytest.raises(UserError, match=r"3 of 35 images in the index files .*train/class0/4\.jpg"):
        opened(root, "imagenet100lt", needs={"val"})
    with pytest.raises(UserError, match=r"the index file balanced_train\.txt .*cannot be downloaded"):
        opened(root, "imagenet100lt", needs={"train"})


def test_a_list_that_comes_later_changes_no_other_sum(imagenet, root):
    kept = (imagenet / "balanced_train.txt").read_bytes()
    (imagenet / "balanced_train.txt").unlink()
    benchmark = BENCHMARKS["imagenet100lt"]()
    (before,) = read_passports(benchmark, "sdclr", [1], root)
    (imagenet / "balanced_train.txt").write_bytes(kept)
    (after,) = read_passports(benchmark, "sdclr", [1], root)  # the same object sees the new file
    assert dict(after.lists) == {**before.lists, "train": after.lists["train"]}
    assert "train" not in before.lists
    assert (after.pretraining, after.line) == (before.pretraining, before.line)
    assert after.short != before.short
    listing = read_index_file(imagenet / "lt_train.txt")
    assert after.lists["pretrain"] == (23, listing.sha256())
    assert after.lists["train"] == (15, read_index_file(imagenet / "balanced_train.txt").sha256())


def test_no_folder_of_images_is_reported_with_what_belongs_there(imagenet, root):
    (root / "imagenet").rename(root / "elsewhere")
    with pytest.raises(UserError, match=r"ImageNet-100-LT needs the folder .*imagenet with ImageNet's `train/WNID"):
        opened(root, "imagenet100lt")
