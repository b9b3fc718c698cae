"""Members of tar archives: paths, reading in place, and damaged archives."""

import gzip
import os
import tarfile
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from PIL import Image

from core.errors import UserError
from data.image_files import ImageFiles, Unreadable, check_files
from data.lists.missing_files import missing_files
from data.loader import Loader
from data.tar_members import members, opened, read_bytes, split
from data.views.backend import BACKENDS
from data.views.spec import Evaluation, View
from tests.folders import write_tar

FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}
CONTENT = {"a.jpg": b"one", "folder/b.cls": b"", "größe.bin": bytes(range(256)) * 9, f"{'long' * 20}/{'er' * 40}.txt": b"two"}


@pytest.mark.parametrize("kind", FORMATS)
def test_members_are_read_by_name_in_every_format(tmp_path, kind):
    for name, content in CONTENT.items():
        (tmp_path / "plain" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "plain" / name).write_bytes(content)
    os.symlink("a.jpg", tmp_path / "plain" / "link.jpg")
    archive = tmp_path / "x.tar"
    with tarfile.open(archive, "w", format=FORMATS[kind]) as tar:
        tar.add(tmp_path / "plain", ".")  # names begin with ./
    assert set(members(str(archive))) == set(CONTENT)
    for name, content in CONTENT.items():
        path = f"{archive}/{name}"
        assert split(path) == (str(archive), name)
        assert read_bytes(path) == content
        with opened(path) as file:
            assert file.read() == content
        assert read_bytes(str(tmp_path / "plain" / name)) == content


def test_a_folder_may_be_named_like_an_archive(tmp_path):
    write_tar(tmp_path / "a.tar" / "b.tar", {"c.tar/d": b"inner"})
    (tmp_path / "a.tar" / "e").write_bytes(b"plain")
    assert split(f"{tmp_path}/a.tar/b.tar/c.tar/d") == (f"{tmp_path}/a.tar/b.tar", "c.tar/d")
    assert read_bytes(f"{tmp_path}/a.tar/b.tar/c.tar/d") == b"inner"
    assert split(f"{tmp_path}/a.tar/e") is None
    assert read_bytes(f"{tmp_path}/a.tar/e") == b"plain"
    names = ["a.tar/e", "a.tar/f", "a.tar/b.tar/c.tar/d", "a.tar/b.tar/d", "g.tar/h"]
    assert missing_files(tmp_path, names) == ["a.tar/f", "a.tar/b.tar/d", "g.tar/h"]


def test_an_archive_that_is_written_again_is_read_again(tmp_path):
    archive = tmp_path / "x.tar"
    write_tar(archive, {"a": b"old"})
    assert read_bytes(f"{archive}/a") == b"old"
    write_tar(archive, {"filler": b"1" * 5000, "a": b"newer"})
    assert list(members(str(archive))) == ["filler", "a"]
    assert read_bytes(f"{archive}/a") == b"newer"
    archive.unlink()
    assert missing_files(tmp_path, ["x.tar/a"]) == ["x.tar/a"]
    with pytest.raises(FileNotFoundError):
        read_bytes(f"{archive}/a")


def test_threads_read_one_archive_at_once(tmp_path):
    content = {f"{i:04d}": os.urandom(3000 + i) for i in range(300)}
    write_tar(tmp_path / "x.tar", content)
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda name: read_bytes(f"{tmp_path}/x.tar/{name}"), content)) == list(content.values())


def _whole(folder) -> bytes:
    write_tar(folder / "whole.tar", {f"{i}.jpg": bytes([i]) * 2000 for i in range(4)})
    return (folder / "whole.tar").read_bytes()


DAMAGE = {  # content of the archive; each member takes a header and four blocks of 512 bytes
    "empty": lambda whole: b"",
    "cut in a header": lambda whole: whole[: 5 * 512 + 100],
    "cut after a member": lambda whole: whole[: 5 * 512],
    "cut in a member": lambda whole: whole[: 7 * 512],
    "no end": lambda whole: whole[: 20 * 512],
    "damaged header": lambda whole: whole[: 5 * 512] + b"?" * 512 + whole[6 * 512 :],
    "compressed": gzip.compress,
    "another file": lambda whole: b"text" * 5000,
    "zeros in place of a number": lambda whole: whole[: 5 * 512 + 124] + b"\xff" * 12 + whole[5 * 512 + 136 :],
}


@pytest.mark.parametrize("case", DAMAGE)
def test_a_damaged_archive_is_named(tmp_path, case):
    archive = tmp_path / "x.tar"
    archive.write_bytes(DAMAGE[case](_whole(tmp_path)))
    for _ in range(2):
        with pytest.raises(UserError) as error:
            members(str(archive))
        assert str(error.value).startswith(f"{archive} is truncated, damaged or not an uncompressed tar file (")
        assert len(str(error.value).splitlines()) == 1


def test_two_members_of_one_name_are_refused(tmp_path):
    for mode in ("w", "a"):
        with tarfile.open(tmp_path / "x.tar", mode) as tar:
            tar.addfile(tarfile.TarInfo("a.jpg"))
            tar.addfile(tarfile.TarInfo(f"{mode}.jpg" if mode == "w" else "w.jpg"))
    with pytest.raises(UserError, match=r"x\.tar has several members of 2 names: a\.jpg, w\.jpg; write it again"):
        members(str(tmp_path / "x.tar"))


def test_an_archive_that_is_gone_is_an_error_of_one_line(tmp_path):
    with pytest.raises(UserError, match=r"x\.tar cannot be read \(No such file or directory\); restore it"):
        members(str(tmp_path / "x.tar"))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory, photographs):
    """Paths of JPEG and PNG files of several sizes and modes, and of the same images in an archive."""
    folder = tmp_path_factory.mktemp("pictures")
    content = {}
    for i in range(12):
        name, mode = (f"{i}.jpg", "RGB") if i % 3 else (f"{i}.png", ("RGBA", "P", "L", "RGB")[i // 3])
        picture = Image.fromarray(photographs[i].permute(1, 2, 0).numpy()).resize((40 + 3 * i, 48 - i)).convert(mode)
        picture.save(folder / name)
        content[name] = (folder / name).read_bytes()
    write_tar(folder / "x.tar", content)
    return [f"{folder}/{name}" for name in content], [f"{folder}/x.tar/{name}" for name in content]


@pytest.mark.parametrize("name", BACKENDS.names())
def test_backends_read_the_same_images(pictures, name):
    if missing := BACKENDS[name].missing_dependency():
        pytest.skip(missing)
    plain, packed = map(ImageFiles, pictures)
    backend = BACKENDS[name]((View(), View(blur_p=0.5)))
    for own, other in zip(backend(plain, seed=3, size=24), backend(packed, seed=3, size=24), strict=True):
        assert torch.equal(own, other)
    evaluation = Evaluation(resize=36, crop=32)
    assert torch.equal(backend.evaluate(plain, evaluation), backend.evaluate(packed, evaluation))


def test_a_loader_prefetches_the_same_batches(pictures):
    epochs = [Loader(ImageFiles(paths), BACKENDS["torch"]((View(),)), 5, seed=1).epoch(0, size=24) for paths in pictures]
    for own, other in zip(*epochs, strict=True):
        assert torch.equal(own.index, other.index)
        assert torch.equal(own.views[0], other.views[0])


def test_unreadable_members_are_named(pictures, tmp_path):
    plain, _ = pictures
    with open(plain[1], "rb") as file:
        image = file.read()
    write_tar(tmp_path / "x.tar", {"good.jpg": image, "text.jpg": b"no image", "cut.jpg": image[: len(image) // 2]})
    paths = [f"{tmp_path}/x.tar/{name}.jpg" for name in ("good", "text", "cut", "gone")]
    with pytest.raises(Unreadable) as wrong:
        check_files(paths)
    said = ["not an image", "truncated or damaged", "No such file or directory"]
    assert wrong.value.reasons == {i: f"{paths[i]} ({reason})" for i, reason in enumerate(said, start=1)}
    with pytest.raises(Unreadable) as caught:
        ImageFiles(paths).read()
    assert sorted(caught.value.reasons) == [1, 3]
    with pytest.raises(Unreadable, match=r"x\.tar/cut\.jpg"):
        ImageFiles([paths[0], paths[2]]).read().decode_each(lambda _, picture: None)
