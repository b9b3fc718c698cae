"""Named OOD pools, on tiny files in the official formats with adapted sizes and checksums."""

import hashlib
import io
import os
import pickle
import stat
import tarfile
from pathlib import Path

import numpy as np
import pytest
import requests
from PIL import Image

from core.errors import UserError
from data.pools import emoji, random_300k
from data.pools.pool import load_pool, pixels_sha256
from data.root import data_folder
from data.sources import cifar100, fetch

COUNT = 6  # images of a tiny pool, or of one of its PNG files
CLIENTS = os.environ["PATH"]  # where a real npm is
SHEETS = Path(__file__).parents[4] / "shared" / "data" / "cifar100-sheets"


def _random(*shape):
    return np.random.RandomState(0).randint(0, 256, shape, dtype=np.uint8)


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path):
    """No network, no client and no cache; a test that needs one puts it there."""

    def unreachable(*args, **kwargs):
        raise requests.ConnectionError("no network")

    monkeypatch.setattr(fetch.pooch, "retrieve", unreachable)
    monkeypatch.setattr(cifar100, "download", unreachable)
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def root(tmp_path):
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


# 300k


@pytest.fixture
def random_images(monkeypatch):
    """A tiny 300k: its images (N, 32, 32, 3) and the bytes of its file."""
    images = _random(COUNT, 32, 32, 3)
    content = io.BytesIO()
    np.save(content, images)
    monkeypatch.setattr(random_300k, "BYTES", len(content.getvalue()))
    monkeypatch.setattr(random_300k, "SHAPE", (COUNT, 3, 32, 32))
    monkeypatch.setattr(random_300k, "MD5", hashlib.md5(content.getvalue()).hexdigest())
    return images, content.getvalue()


def test_300k_is_mapped_not_read_and_named_by_its_files_sum(random_images, root):
    images, content = random_images
    (root / random_300k.FILE).write_bytes(content)
    pool = load_pool("300k", 32, root)
    assert np.array_equal(pool.images, images.transpose(0, 3, 1, 2))
    assert isinstance(pool.images, np.memmap)
    assert not pool.images.flags.writeable
    assert pool.about == f"300k, {COUNT} images, sha256 {hashlib.sha256(content).hexdigest()[:12]}"


def test_300k_is_downloaded_whole_or_not_at_all(random_images, root, monkeypatch):
    images, content = random_images

    def retrieve(url, known_hash, fname, path, downloader):
        assert known_hash == f"md5:{random_300k.MD5}"
        (Path(path) / fname).write_bytes(content)
        return str(Path(path) / fname)

    monkeypatch.setattr(fetch.pooch, "retrieve", retrieve)
    assert np.array_equal(load_pool("300k", 32, root).images, images.transpose(0, 3, 1, 2))
    assert [name for name in os.listdir(root) if name != ".fetch.lock"] == [random_300k.FILE]


def test_a_failed_download_of_300k_names_the_file(root):
    with pytest.raises(UserError, match=rf"is not at {root / random_300k.FILE} .*no network.*put the file there, or choose"):
        load_pool("300k", 32, root)
    assert [name for name in os.listdir(root) if name != ".fetch.lock"] == []


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda content: content[:-1], "bytes, not"),
        (lambda content: content[:-1] + bytes([content[-1] ^ 1]), "MD5"),
        (lambda content: b"?" + content[1:], "not a complete .npy file"),
    ],
)
def test_a_damaged_300k_is_named_and_never_used(random_images, root, damage, said):
    (root / random_300k.FILE).write_bytes(damage(random_images[1]))
    with pytest.raises(UserError, match=rf"{root / random_300k.FILE} .*{said}"):
        load_pool("300k", 32, root)


@pytest.mark.parametrize("other", [_random(COUNT, 24, 32, 4), _random(COUNT, 32, 32, 3).astype(np.float32)[:, ::2, ::2]])
def test_another_array_is_not_taken_for_300k(random_images, root, monkeypatch, other):
    file = root / random_300k.FILE
    np.save(file, other)
    monkeypatch.setattr(random_300k, "BYTES", file.stat().st_size)
    with pytest.raises(UserError, match="a pool must be uint8"):
        load_pool("300k", 32, root)


# CIFAR-100


def _python_release(root, rows, monkeypatch):
    content = pickle.dumps({b"data": rows, b"fine_labels": [0] * len(rows)})
    (root / cifar100.PYTHON).mkdir()
    (root / cifar100.PYTHON / "train").write_bytes(content)
    monkeypatch.setattr(cifar100.CIFAR100, "train_list", [["train", hashlib.md5(content).hexdigest()]])


def _sheets(root, rows, monkeypatch):
    monkeypatch.setattr(cifar100, "SHEET_IMAGES", COUNT)
    (root / cifar100.SHEETS).mkdir()
    for name, sheet in zip(cifar100.SHEET_NAMES["train"], np.split(rows, 5), strict=True):
        pixels = sheet.reshape(COUNT, 3, 1024).transpose(0, 2, 1)
        Image.fromarray(np.ascontiguousarray(pixels)).save(root / cifar100.SHEETS / name)


@pytest.mark.parametrize("form", [_python_release, _sheets])
def test_cifar100_is_read_from_either_form(root, monkeypatch, form):
    rows = _random(5 * COUNT, 3072)
    form(root, rows, monkeypatch)
    pool = load_pool("cifar100", 32, root)
    assert np.array_equal(pool.images, rows.reshape(-1, 3, 32, 32))
    assert pool.about == f"cifar100, 30 images, sha256 {hashlib.sha256(rows.tobytes()).hexdigest()[:12]}"


def test_cifar100_is_downloaded_into_torchvisions_folder(root, monkeypatch):
    rows = _random(COUNT, 3072)
    monkeypatch.setattr(cifar100, "download", lambda release, scratch: _python_release(scratch, rows, monkeypatch))
    assert np.array_equal(load_pool("cifar100", 32, root).images, rows.reshape(-1, 3, 32, 32))
    assert [name for name in os.listdir(root) if name != ".fetch.lock"] == [cifar100.PYTHON]


def test_a_failed_download_of_cifar100_names_the_files(root):
    with pytest.raises(UserError, match=rf"not in {root} .*no network.*put torchvision's folder cifar-100-python there"):
        load_pool("cifar100", 32, root)


@pytest.mark.parametrize("damage", [lambda content: content[: len(content) // 2], lambda content: b"", None])
@pytest.mark.parametrize(("form", "file"), [(_python_release, "train"), (_sheets, "data_batch_3.png")])
def test_a_damaged_cifar100_is_named_and_never_used(root, monkeypatch, form, file, damage):
    form(root, _random(5 * COUNT, 3072), monkeypatch)
    (victim,) = root.glob(f"*/{file}")
    content = victim.read_bytes()
    if damage is None:
        victim.unlink()
    else:
        victim.write_bytes(damage(content))
    with pytest.raises(UserError, match=rf"{victim} .*(delete|restore)"):
        load_pool("cifar100", 32, root)


@pytest.mark.slow
@pytest.mark.skipif(not SHEETS.is_dir(), reason="no CIFAR-100 PNG files next to the checkout")
def test_the_real_sheets_are_read(root):
    (root / cifar100.SHEETS).symlink_to(SHEETS)
    pool = load_pool("cifar100", 32, root)
    assert pool.images.shape == (50_000, 3, 32, 32)
    assert 100 < pool.images.mean() < 140  # CIFAR-100's mean is about 0.48


# emoji


@pytest.fixture
def emoji_package(tmp_path, monkeypatch):
    """An `npm` whose `pack` delivers images in three modes; returns the expected pixels, (3, 3, 32, 32)."""
    clear = Image.new("RGBA", (64, 64), (10, 20, 30, 0))
    half = Image.new("RGBA", (64, 64), (0, 100, 200, 255))
    half.paste((0, 100, 200, 51), (0, 0, 64, 32))  # the upper half is 0.2 opaque
    blue = Image.new("RGB", (64, 64), "blue").quantize(4)
    folder = tmp_path / "bin"
    folder.mkdir()
    with tarfile.open(folder / "package.tgz", "w:gz") as archive:
        # another order than the names', and files that are not part of the pool
        for name, picture in [("64/b", half), ("64/c", blue), ("64/a", clear), ("sheets/64", blue), ("sheets-clean/64", blue)]:
            content = io.BytesIO()
            picture.save(content, "png")
            info = tarfile.TarInfo(f"package/img/twitter/{name}.png")
            info.size = len(content.getvalue())
            archive.addfile(info, io.BytesIO(content.getvalue()))
    npm = folder / "npm"
    npm.write_text(f'#!/bin/sh\n[ "$1 $2" = "pack {emoji.PACKAGE}" ] && /bin/cp {folder}/package.tgz .\n')
    npm.chmod(npm.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", str(folder))
    looks = np.full((3, 3, 32, 32), 255, dtype=np.uint8)
    looks[1, :, 16:] = np.array([0, 100, 200])[:, None, None]
    looks[1, :, :16] = np.array([204, 224, 244])[:, None, None]
    looks[2, :2] = 0
    return looks


def test_emoji_are_fetched_once_over_white_and_kept_verified(emoji_package, root, monkeypatch):
    monkeypatch.setattr(emoji, "SHA256", pixels_sha256(emoji_package))
    pool = load_pool("emoji", 32, root)
    assert np.array_equal(pool.images, emoji_package)
    assert pool.about == f"emoji, 3 images, sha256 {emoji.SHA256[:12]}"
    assert [name for name in os.listdir(root) if name != ".fetch.lock"] == [emoji.FILE]
    monkeypatch.setattr(emoji, "_fetch", None)  # the second time the array alone serves
    assert np.array_equal(load_pool("emoji", 32, root).images, emoji_package)
    content = bytearray((root / emoji.FILE).read_bytes())
    content[-1] ^= 1
    (root / emoji.FILE).write_bytes(content)
    with pytest.raises(UserError, match=rf"{root / emoji.FILE} is damaged.*delete it"):
        load_pool("emoji", 32, root)


def test_a_pool_in_the_cache_serves_every_data_root(emoji_package, root, tmp_path, monkeypatch):
    monkeypatch.setattr(emoji, "SHA256", pixels_sha256(emoji_package))
    cached = load_pool("emoji", 32, data_folder(None))
    monkeypatch.setattr(emoji, "_fetch", None)
    assert load_pool("emoji", 32, root).about == cached.about
    assert list(root.iterdir()) == []


def test_a_halved_image_rounds_half_up():
    picture = np.zeros((64, 64, 4), dtype=np.uint8)
    picture[..., 3] = 255
    picture[0, :2, 0] = 1  # the mean of 1, 1, 0, 0
    picture[2, 0, 0] = 1  # the mean of 1, 0, 0, 0
    halved = emoji._halved(picture)
    assert (halved[0, 0, 0], halved[1, 0, 0], halved.sum()) == (1, 0, 1)


def test_another_package_is_refused_and_writes_no_file(emoji_package, root):
    with pytest.raises(UserError, match="it has 3 images with SHA-256"):
        load_pool("emoji", 32, root)
    assert [name for name in os.listdir(root) if name != ".fetch.lock"] == []


def test_emoji_without_npm_say_so(root):
    with pytest.raises(UserError, match=r"npm client is not installed.*choose another pool"):
        load_pool("emoji", 32, root)


@pytest.mark.slow
def test_the_real_emoji_are_fetched_and_verified(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", CLIENTS)
    assert load_pool("emoji", 32, tmp_path).images.shape == (3786, 3, 32, 32)
