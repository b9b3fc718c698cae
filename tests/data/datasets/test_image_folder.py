"""Benchmarks of class folders: names, profiles, and passports."""

import numpy as np
import pytest

from core.errors import UserError
from data.benchmark import BENCHMARKS, MissingData
from data.datasets.image_folder import enter, folder_benchmark
from data.passport import read_passports
from tests.folders import class_images, write_images

COUNTS = {"ant": 40, "bee": 60, "cat": 50, "dog": 50, "eel": 45, "fox": 60}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Class folders of COUNTS images; the training part has seven tenths."""
    folder = tmp_path_factory.mktemp("data") / "My Pets!"
    write_images(folder, class_images(COUNTS))
    return folder


@pytest.fixture
def loaded(folder):
    """The benchmark and its images."""
    (name,) = BENCHMARKS.select([f"folder:{folder}"])
    benchmark = BENCHMARKS[name]()
    return benchmark, benchmark.load(folder.parent / "no-root")


def _counts(images, indices):
    return np.bincount(images.train_labels[indices], minlength=len(COUNTS)).tolist()


def test_the_name_can_be_a_file_name_and_does_not_depend_on_the_place(folder, tmp_path, loaded):
    benchmark, _ = loaded
    assert benchmark.name.startswith("folder-my_pets-")
    assert benchmark.name in BENCHMARKS
    (tmp_path / "elsewhere").mkdir()
    write_images(tmp_path / "elsewhere" / folder.name, class_images(COUNTS))
    other = tmp_path / "elsewhere" / folder.name
    assert BENCHMARKS.select([f"folder:{other}"]) == [benchmark.name]
    with pytest.raises(UserError, match="have the same name, paths and file sizes, and so would their runs"):
        BENCHMARKS.select([f"folder:{folder}", f"folder:{other}"])
    words = [f"folder:{folder}", f"folder:{folder}/", benchmark.name, "digitslt"]
    assert BENCHMARKS.select(words) == [benchmark.name, "digitslt"]


def test_the_natural_profile_is_the_whole_training_part(loaded):
    benchmark, images = loaded
    lists = benchmark.lists(images.train_labels, "natural", 1)
    assert benchmark.class_names == tuple(COUNTS)
    assert _counts(images, lists.pretrain) == [n - n // 5 - n // 10 for n in COUNTS.values()]
    assert np.array_equal(lists.pretrain, lists.train)
    assert _counts(images, lists.val) == [n // 10 for n in COUNTS.values()]
    assert np.bincount(images.test_labels).tolist() == [n // 5 for n in COUNTS.values()]
    names = np.array(images.train.names())
    assert all(f"/{benchmark.class_names[c]}/" in name for name, c in zip(names, images.train_labels, strict=True))


@pytest.mark.parametrize("profile", ["ir=1", "ir=2,n=150", "ir=5", "ir=10", "ir=20", "ir=10,n=60", "ir=3,n=100"])
@pytest.mark.parametrize("split", [1, 2, 7])
def test_a_profile_of_a_ratio_is_drawn_from_the_training_part_with_its_twin(loaded, profile, split):
    benchmark, images = loaded
    lists = benchmark.lists(images.train_labels, profile, split)
    own = benchmark.lists(images.train_labels, "natural", 1)
    counts, available = _counts(images, lists.pretrain), _counts(images, own.train)
    assert set(lists.pretrain.tolist()) <= set(own.train.tolist())
    assert len(set(lists.pretrain.tolist())) == len(lists.pretrain)
    ratio = float(profile.split(",")[0].removeprefix("ir="))
    assert max(counts) / (min(counts) + 1) < ratio <= max(counts) / min(counts)
    assert len(lists.pretrain) <= int(profile.partition("n=")[2] or 10**9)
    larger = [(a, b) for a in range(len(COUNTS)) for b in range(len(COUNTS)) if available[a] > available[b]]
    assert all(counts[a] >= counts[b] for a, b in larger)
    for name in ("train", "val"):
        assert np.array_equal(getattr(lists, name), getattr(own, name))

    twin = benchmark.lists(images.train_labels, f"balanced-{profile}", split)
    assert _counts(images, twin.pretrain) == [len(lists.pretrain) // len(COUNTS)] * len(COUNTS)
    assert benchmark.group_counts(images.train_labels, f"balanced-{profile}", split).tolist() == counts
    again = benchmark.lists(images.train_labels, profile, split)
    assert np.array_equal(again.pretrain, lists.pretrain)
    assert profile == "ir=1" or not np.array_equal(
        benchmark.lists(images.train_labels, profile, split + 1).pretrain, lists.pretrain
    )


@pytest.mark.parametrize(
    ("profile", "said"),
    [
        ("ir=100", "leaves the smallest of 6 classes empty: the largest has 42 images; use a smaller ratio"),
        ("ir=10,n=5", "leaves the smallest of 6 classes empty: the largest has . images; use a smaller ratio or a larger size"),
        ("ir=10,n=0", "the largest has 0 images"),
        ("balanced", "has no variant 'balanced'; balanced-ir=NUMBER is the balanced twin"),
        ("ir=many", "is not of the form ir=NUMBER"),
        ("cao", "has no variant 'cao'"),
    ],
)
def test_impossible_profiles(loaded, profile, said):
    benchmark, images = loaded
    with pytest.raises(UserError, match=said):
        benchmark.lists(images.train_labels, benchmark.profile(profile), 1)


def test_a_twin_needs_large_classes(tmp_path):
    write_images(tmp_path, class_images({"a": 60, "b": 50, "c": 6}))
    benchmark = BENCHMARKS[enter(tmp_path)]()
    images = benchmark.load(tmp_path)
    with pytest.raises(UserError, match=r"needs 12 training images of each class, but the smallest has 4; use .* n=12"):
        benchmark.lists(images.train_labels, "balanced-ir=5", 1)
    small = benchmark.lists(images.train_labels, "balanced-ir=5,n=12", 1)
    assert len(small.pretrain) <= 12


def test_splits_are_checked(loaded):
    benchmark, _ = loaded
    benchmark.check_split("ir=10", 1000)
    with pytest.raises(UserError, match=r"has one split, not 2"):
        benchmark.check_split("natural", 2)


def test_the_passport_has_the_place_and_the_classes(loaded, folder):
    benchmark, _ = loaded
    (passport,) = read_passports(benchmark, "natural", [1], folder)
    assert passport.source.place == str(folder)
    assert passport.class_names == tuple(COUNTS)
    assert str(folder) not in passport.line


def test_files_that_are_no_images_are_reported_together(tmp_path):
    write_images(tmp_path, class_images({"a": 6, "b": 6, "c": 6}))
    for name in ("a/0.png", "b/1.png"):
        (tmp_path / name).write_bytes(b"no image")
    benchmark = BENCHMARKS[enter(tmp_path)]()
    said = r"2 of 18 images in .* cannot be read: .*[ab]/\d\.png \(not an image\), .*[ab]/\d\.png \(not an image\); restore"
    with pytest.raises(UserError, match=said):
        benchmark.load(tmp_path)


def test_an_unknown_place_is_missing_data(tmp_path):
    with pytest.raises(
        MissingData, match="the folder of folder-x-00000000 is unknown on this machine; give it with --datasets folder:"
    ):
        folder_benchmark("folder-x-00000000")().load(tmp_path)
