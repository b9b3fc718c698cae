"""CIFAR-100 file formats, on small files with adapted checksums. Tests of the OOD pool cover the training images."""

import hashlib
import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.errors import UserError
from data.benchmark import BENCHMARKS
from data.sources import cifar100

COUNT = 100  # images per PNG file, one of each class in the test file
SHEETS = Path(__file__).parents[4] / "shared" / "data" / "cifar100-sheets"


@pytest.fixture
def small(monkeypatch):
    """A small release: by part, pixels (N, 3072) and fine labels (N,). Nothing can be downloaded."""
    stream = np.random.RandomState(0)
    sizes = {"train": 5 * COUNT, "test": COUNT}
    release = {
        part: (stream.randint(0, 256, (n, 3072), dtype=np.uint8), (stream.permutation(n) % 100).astype(np.uint8))
        for part, n in sizes.items()
    }
    monkeypatch.setattr(cifar100, "SHEET_IMAGES", COUNT)
    monkeypatch.setattr(cifar100, "LABELS_SHA256", hashlib.sha256(release["train"][1].tobytes()).hexdigest())

    def unreachable(*args):
        raise OSError("no network")

    monkeypatch.setattr(cifar100, "download", unreachable)
    return release


def _python(root, release, monkeypatch):
    (root / cifar100.PYTHON).mkdir()
    for part, (pixels, labels) in release.items():
        content = pickle.dumps({b"data": pixels, b"fine_labels": labels.tolist()})
        (root / cifar100.PYTHON / part).write_bytes(content)
        monkeypatch.setattr(cifar100.CIFAR100, f"{part}_list", [[part, hashlib.md5(content).hexdigest()]])


def _binary(root, release, monkeypatch):
    (root / cifar100.BINARY).mkdir()
    sums = {}
    for part, (pixels, labels) in release.items():
        content = np.concatenate([labels[:, None] // 5, labels[:, None], pixels], axis=1).tobytes()
        (root / cifar100.BINARY / f"{part}.bin").write_bytes(content)
        sums[part] = hashlib.sha1(content).hexdigest()
    monkeypatch.setattr(cifar100, "BINARY_SHA1", sums)


def _sheets(root, release, monkeypatch):
    (root / cifar100.SHEETS).mkdir()
    for part, (pixels, labels) in release.items():
        (root / cifar100.SHEETS / f"{part}_labels.json").write_text(json.dumps(labels.tolist()))
        for name, sheet in zip(cifar100.SHEET_NAMES[part], np.split(pixels, len(pixels) // COUNT), strict=True):
            rows = sheet.reshape(COUNT, 3, 1024).transpose(0, 2, 1)
            Image.fromarray(np.ascontiguousarray(rows)).save(root / cifar100.SHEETS / name)


FORMS = {cifar100.PYTHON: _python, cifar100.BINARY: _binary, cifar100.SHEETS: _sheets}


def _assert_is(images, release):
    for part, pixels, labels in (("train", images.train, images.train_labels), ("test", images.test, images.test_labels)):
        assert np.array_equal(pixels, release[part][0].reshape(-1, 3, 32, 32))
        assert np.array_equal(labels, release[part][1])
        assert labels.dtype == np.int64


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_the_same_images_and_says_which_order_they_have(small, tmp_path, monkeypatch, form):
    FORMS[form](tmp_path, small, monkeypatch)
    benchmark = BENCHMARKS["cifar100lt"]()
    images = benchmark.load(tmp_path)
    _assert_is(images, small)
    labels, source = benchmark.labels(tmp_path)
    assert np.array_equal(labels, images.train_labels)
    assert source == images.source
    surrogate = form == cifar100.SHEETS
    assert ("surrogate order" in source.name) == ("surrogate order" in benchmark.describe_copy(tmp_path)) == surrogate
    assert benchmark.describe_copy(tmp_path).startswith(f"found in {tmp_path / form}")
    assert (source == cifar100.OFFICIAL) == (not surrogate)
    assert source.mark == ("surrogate-order" if surrogate else "")


def test_the_official_order_is_preferred(small, tmp_path, monkeypatch):
    for make in FORMS.values():
        make(tmp_path, small, monkeypatch)
    assert cifar100.found(tmp_path) == tmp_path / cifar100.PYTHON


def test_it_is_downloaded_once(small, tmp_path, monkeypatch):
    root = tmp_path / "data"
    with pytest.raises(UserError, match=r"CIFAR-100 is not in .*; a run downloads it"):
        cifar100.labels(root)
    assert not root.exists()
    monkeypatch.setattr(cifar100, "download", lambda release, scratch: _python(scratch, small, monkeypatch))
    _assert_is(cifar100.load(root), small)
    monkeypatch.setattr(cifar100, "download", None)
    _assert_is(cifar100.load(root), small)
    assert [name for name in os.listdir(root) if not name.startswith(".fetch.lock")] == [cifar100.PYTHON]


def test_a_failed_download_names_the_fix(small, tmp_path):
    assert cifar100.describe_copy(tmp_path).startswith("missing")
    with pytest.raises(UserError, match=r"cannot be downloaded \(no network\); put torchvision's folder .*--data-root"):
        cifar100.load(tmp_path)


@pytest.mark.parametrize("damage", ["truncate", "flip", "remove"])
@pytest.mark.parametrize(
    ("form", "name"),
    [
        (cifar100.PYTHON, "test"),
        (cifar100.BINARY, "train.bin"),
        (cifar100.SHEETS, "test_batch.png"),
        (cifar100.SHEETS, "train_labels.json"),
        (cifar100.SHEETS, "test_labels.json"),
    ],
)
def test_a_damaged_file_is_named_and_never_used(small, tmp_path, monkeypatch, form, name, damage):
    FORMS[form](tmp_path, small, monkeypatch)
    file = tmp_path / form / name
    content = bytearray(file.read_bytes())
    if damage == "remove":
        file.unlink()
        assert f"{name} is missing" in cifar100.describe_copy(tmp_path)
    else:
        content[len(content) // 2] ^= 255
        file.write_bytes(content if damage == "flip" else content[: len(content) // 2])
    with pytest.raises(UserError, match=rf"{file} (is|does) .*(restore it|delete {tmp_path / form})"):
        cifar100.load(tmp_path)


def test_labels_in_another_order_are_refused(small, tmp_path, monkeypatch):
    _sheets(tmp_path, small | {"train": (small["train"][0], small["train"][1][::-1])}, monkeypatch)
    with pytest.raises(
        UserError, match=r"train_labels\.json does not contain the fine labels of CIFAR-100 in the official order"
    ):
        cifar100.labels(tmp_path)


def test_test_labels_with_another_number_in_a_class_are_refused(small, tmp_path, monkeypatch):
    pixels, labels = small["test"]
    _sheets(tmp_path, small | {"test": (pixels, np.append(labels[1:], labels[-1]))}, monkeypatch)
    with pytest.raises(UserError, match=r"test_labels\.json does not have \d+ labels of each class; restore it"):
        cifar100.load(tmp_path)


def test_labels_do_not_need_the_png_files(small, tmp_path, monkeypatch):
    _sheets(tmp_path, small, monkeypatch)
    (tmp_path / cifar100.SHEETS / "data_batch_2.png").unlink()
    assert cifar100.labels(tmp_path)[1].checksum == "none: data_batch_2.png is missing"


def test_torchvision_and_the_source_agree_on_the_sums():
    ((_, train),), ((_, test),) = cifar100.CIFAR100.train_list, cifar100.CIFAR100.test_list
    assert cifar100.OFFICIAL.checksum.startswith(f"md5 {train} and {test} of")


def test_the_known_labels_are_those_of_the_official_order(cifar100_labels):
    assert hashlib.sha256(cifar100_labels.astype(np.uint8).tobytes()).hexdigest() == cifar100.LABELS_SHA256
    names = BENCHMARKS["cifar100lt"].class_names
    assert (len(names), names[0], names[99]) == (100, "apple", "worm")
    assert list(names) == sorted(names)


@pytest.mark.slow
@pytest.mark.skipif(not SHEETS.is_dir(), reason="no CIFAR-100 PNG files next to the checkout")
def test_the_real_sheets_are_read(tmp_path, cifar100_labels):
    (tmp_path / cifar100.SHEETS).symlink_to(SHEETS)
    images = cifar100.load(tmp_path)
    assert images.train.shape == (50_000, 3, 32, 32)
    assert np.array_equal(images.train_labels, cifar100_labels)
    assert np.bincount(images.test_labels).tolist() == [100] * 100
