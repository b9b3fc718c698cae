"""Pool registry and user-defined pools: names, decoding, preference order."""

import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.errors import UserError
from data.pools import emoji, random_300k
from data.pools.pool import ORDER, POOLS, REGISTRY_POOL, best_pool, check_pool, load_pool, pixels_sha256, pools_text
from data.sources import cifar100

SIZE = 8


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "pictures").mkdir()
    return tmp_path / "pictures"


def _pool(folder, size=SIZE):
    return load_pool(f"folder:{folder}", size, folder.parent / "no-root")


def _is(image, colour, tolerance=0):
    assert np.abs(image.astype(int) - np.reshape(colour, (3, 1, 1))).max() <= tolerance


def test_every_pool_has_a_name_in_order_and_says_what_it_is(tmp_path):
    assert {*ORDER, REGISTRY_POOL} < set(POOLS.names())
    lines = pools_text(tmp_path)
    assert [line.split(": ")[0] for line in lines] == ["300k", "cifar100", "emoji", "imagenet-r", "places69", "folder:PATH"]
    assert all("\n" not in line for line in lines)
    assert [line.endswith("missing") for line in lines] == [True] * 5 + [False]


@pytest.mark.parametrize("name", ["300k", "cifar100", "emoji"])
def test_a_named_pool_is_checked_without_looking_for_it(name):
    check_pool(name)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("300K", "did you mean '300k'"),
        ("cifar10", "did you mean 'cifar100'"),
        ("folder", "did you mean 'folder:PATH'"),
        ("zzz", "choose from: 300k, cifar100, emoji, folder:PATH"),
        ("folder:", "has no path"),
        ("folder:nowhere", "nowhere does not exist"),
        (f"folder:{__file__}", "neither a folder nor a .npy file"),
    ],
)
def test_an_unknown_pool_suggests_the_nearest_name(name, said, tmp_path):
    with pytest.raises(UserError, match=said):
        check_pool(name)
    with pytest.raises(UserError, match=said):
        load_pool(name, SIZE, tmp_path)


def test_the_best_pool_on_disk_is_chosen(tmp_path):
    assert best_pool(tmp_path) == "emoji"
    assert best_pool(tmp_path, "folder:mine") == "folder:mine"
    (tmp_path / emoji.FILE).touch()
    assert best_pool(tmp_path, "folder:mine") == "folder:mine"
    (tmp_path / cifar100.SHEETS).mkdir()
    assert best_pool(tmp_path) == "cifar100"
    (tmp_path / random_300k.FILE).touch()
    assert best_pool(tmp_path, "folder:mine") == "300k"
    assert [f"found in {tmp_path}" in line for line in pools_text(tmp_path)] == [True, True, True, False, False, False]
    (tmp_path / "imagenet-r").mkdir()
    assert best_pool(tmp_path) == "300k"
    assert best_pool(tmp_path, order=("imagenet-r", "300k")) == "imagenet-r"
    assert best_pool(tmp_path, without=("imagenet-r",), order=("imagenet-r", "300k")) == "300k"


# image files


def test_images_of_every_mode_become_rgb_in_the_order_of_their_paths(folder):
    square = (16, 16)
    (folder / "deep" / "er").mkdir(parents=True)
    grey16 = Image.fromarray(np.full((16, 16), 100 * 256, dtype=np.uint16))
    pictures = {
        "a.JPG": (Image.new("CMYK", square, (0, 0, 0, 255)), (0, 0, 0), 3),
        "b.jpeg": (Image.new("L", square, 77), (77, 77, 77), 1),
        "c.png": (Image.new("RGBA", square, (255, 0, 0, 51)), (255, 204, 204), 0),
        "d.png": (Image.new("LA", square, (0, 0)), (255, 255, 255), 0),
        "deep/e.png": (Image.new("RGB", square, (9, 90, 200)).quantize(2), (9, 90, 200), 0),
        "deep/er/f.webp": (Image.new("RGB", square, (10, 200, 30)), (10, 200, 30), 6),
        "g.png": (grey16, (100, 100, 100), 0),
    }
    for name, (picture, _, _) in pictures.items():
        picture.save(folder / name)
    clear = Image.new("P", square, 0)
    clear.putpalette([5, 5, 5])
    clear.save(folder / "h.png", transparency=0)
    (folder / "notes.txt").write_text("not an image")
    pool = _pool(folder)
    assert pool.images.shape == (8, 3, SIZE, SIZE)
    assert pool.images.dtype == np.uint8
    for image, (_, colour, tolerance) in zip(pool.images, pictures.values(), strict=False):
        _is(image, colour, tolerance)
    _is(pool.images[7], (255, 255, 255))
    assert pool.name == f"folder:{folder}"
    assert pool.about == f"folder:{folder}, 8 images, sha256 {pixels_sha256(pool.images)[:12]}"


def test_the_central_square_is_kept_and_smoothed(folder):
    wide = np.zeros((40, 100, 3), dtype=np.uint8)
    wide[:, 30:70] = np.indices((40, 40)).sum(0)[..., None] % 2 * 255  # a fine chessboard between black sides
    Image.fromarray(wide).save(folder / "wide.png")
    Image.fromarray(wide.transpose(1, 0, 2).copy()).save(folder / "tall.png")
    images = _pool(folder).images
    _is(images[0], (127, 127, 127), 12)  # neither black sides nor the chessboard's 0 and 255
    _is(images[1], (127, 127, 127), 12)


def test_a_image_that_a_camera_held_sideways_is_turned_upright(folder):
    sideways = np.zeros((16, 16, 3), dtype=np.uint8)
    sideways[:, :8] = 255  # bright left; turned clockwise, bright above
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(sideways).save(folder / "turned.png", exif=exif)
    (image,) = _pool(folder).images
    assert image[:, : SIZE // 2 - 1].min() > 200
    assert image[:, SIZE // 2 + 1 :].max() < 50


def test_unreadable_images_are_named_counted_and_skipped(folder, caplog):
    for i in range(3):
        Image.new("RGB", (16, 16), (i, 0, 0)).save(folder / f"{i}.png")
    noise = np.random.RandomState(0).randint(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "half.jpg")
    (folder / "half.jpg").write_bytes((folder / "half.jpg").read_bytes()[:2000])
    for i in range(6):
        (folder / f"x{i}.webp").write_bytes(b"not an image")
    with caplog.at_level(logging.WARNING):
        pool = _pool(folder)
    assert pool.images[:, 0, 0, 0].tolist() == [0, 1, 2]
    (record,) = caplog.records
    assert f"skipped 7 unreadable of 10 images in the pool {folder}: half.jpg, x0.webp" in record.getMessage()
    assert record.getMessage().endswith("and 2 more")


def test_a_folder_without_a_readable_image_is_a_mistake(folder):
    with pytest.raises(UserError, match="contains no JPEG, PNG or WebP file"):
        _pool(folder)
    (folder / "a.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"no image in the pool .* can be read \(a\.png\)"):
        _pool(folder)


# arrays


def test_an_array_of_images_is_mapped_and_resized_where_it_has_to_be(tmp_path):
    file = tmp_path / "own.npy"
    images = np.random.RandomState(0).randint(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    images[0] = (10, 20, 30)
    images[1] = np.indices((32, 32)).sum(0)[..., None] % 2 * 255
    np.save(file, images)
    pool = _pool(file, 32)
    assert np.array_equal(pool.images, images.transpose(0, 3, 1, 2))
    assert not pool.images.flags.writeable
    smaller, larger = _pool(file, 8), _pool(file, 48)
    assert (smaller.images.shape, larger.images.shape) == ((5, 3, 8, 8), (5, 3, 48, 48))
    assert smaller.images.dtype == np.uint8
    _is(smaller.images[0], (10, 20, 30))
    _is(larger.images[0], (10, 20, 30))
    _is(smaller.images[1], (127, 127, 127), 12)  # antialiased
    assert smaller.about == larger.about == pool.about


def test_batches_are_resized_and_summed_as_the_whole(tmp_path, monkeypatch):
    images = np.random.RandomState(0).randint(0, 256, (7, 16, 16, 3), dtype=np.uint8)
    np.save(tmp_path / "own.npy", images)
    whole = _pool(tmp_path / "own.npy")
    monkeypatch.setattr("data.pools.pool.BATCH", 3)
    parts = _pool(tmp_path / "own.npy")
    assert np.array_equal(whole.images, parts.images)
    assert whole.about == parts.about


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((2, 8, 8, 3), dtype=np.float32),
        np.zeros((2, 3, 8, 8), dtype=np.uint8),
        np.zeros((2, 8, 9, 3), dtype=np.uint8),
        np.zeros((8, 8, 3), dtype=np.uint8),
        np.zeros((0, 8, 8, 3), dtype=np.uint8),
    ],
)
def test_an_array_of_another_form_is_a_mistake(tmp_path, array):
    np.save(tmp_path / "own.npy", array)
    with pytest.raises(UserError, match=r"own\.npy contains .*; a pool must be uint8 \(M, S, S, 3\)"):
        _pool(tmp_path / "own.npy")


@pytest.mark.parametrize("content", [b"", b"no array", b"\x93NUMPY\x01\x00"])
def test_a_damaged_array_is_a_mistake(tmp_path, content):
    (tmp_path / "own.npy").write_bytes(content)
    with pytest.raises(UserError, match=r"own\.npy is not a complete \.npy file"):
        _pool(tmp_path / "own.npy")


def test_a_home_folder_may_be_abbreviated(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    np.save(tmp_path / "own.npy", np.zeros((1, SIZE, SIZE, 3), dtype=np.uint8))
    assert len(load_pool("folder:~/own.npy", SIZE, Path("no-root")).images) == 1
