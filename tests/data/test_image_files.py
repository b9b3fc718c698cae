"""Image files: reading, decoding, cropping; damaged files are skipped with a warning."""

import logging

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms
from torchvision.transforms import functional as F

from core.errors import UserError
from data.image_files import ImageFiles, Unreadable, check_files
from data.loader import Loader
from data.views.decoding import decode_and_crop, decode_for_evaluation
from data.views.params import draw_batch
from data.views.spec import Evaluation, View
from data.views.torch_backend import TorchViews

MODES = {"colour.jpg": "RGB", "grey.jpg": "L", "cmyk.jpg": "CMYK", "alpha.png": "RGBA", "palette.png": "P", "bits.png": "1"}


@pytest.fixture
def folder(tmp_path, photographs):
    """Seven images of different sizes and modes."""
    for k, (name, mode) in enumerate(MODES.items()):
        picture = Image.fromarray(photographs[k].permute(1, 2, 0).numpy()).resize((40 + 8 * k, 60 - 5 * k))
        picture.convert(mode).save(tmp_path / name)
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated by 90 degrees
    Image.fromarray(photographs[9].permute(1, 2, 0).numpy()).resize((50, 30)).save(tmp_path / "turned.jpg", exif=exif)
    return tmp_path


@pytest.fixture
def files(folder):
    return sorted(folder.iterdir())


def _opened(file):
    return Image.open(file).convert("RGB")  # as torchvision.datasets.ImageFolder


def test_every_kind_of_image_is_read_as_torchvision_reads_it(files):
    encoded = ImageFiles(files).read()
    assert encoded.height.tolist() == [_opened(file).height for file in files]
    assert encoded.width.tolist() == [_opened(file).width for file in files]
    decoded = encoded.decode_each(lambda _, picture: np.asarray(picture))
    for file, pixels in zip(files, decoded, strict=True):
        assert np.array_equal(pixels, np.asarray(_opened(file))), file.name


def test_views_of_images_are_cropped_as_torchvision_crops(files):
    views = (View(), View(interpolation="bilinear"))
    encoded = ImageFiles(files).read()
    drawn = draw_batch(views, encoded.height, encoded.width, seed=1)
    made = decode_and_crop(encoded, views, drawn, 24)
    modes = (transforms.InterpolationMode.BICUBIC, transforms.InterpolationMode.BILINEAR)
    for crops, params, mode in zip(made, drawn, modes, strict=True):
        assert crops.dtype == torch.uint8
        for file, crop, box, flip in zip(files, crops, params.box.tolist(), params.flip.tolist(), strict=True):
            theirs = F.resized_crop(_opened(file), *box, [24, 24], mode)
            assert torch.equal(crop, F.pil_to_tensor(F.hflip(theirs) if flip else theirs))
        assert (params.box[:, 0] + params.box[:, 2] <= encoded.height).all()
        assert (params.box[:, 1] + params.box[:, 3] <= encoded.width).all()


def test_evaluation_images_are_resized_and_centre_cropped(files):
    reference = transforms.Compose([transforms.Resize(36), transforms.CenterCrop(32), transforms.PILToTensor()])
    shown = decode_for_evaluation(ImageFiles(files).read(), Evaluation(resize=36, crop=32))
    assert torch.equal(shown, torch.stack([reference(_opened(file)) for file in files]))
    with pytest.raises(ValueError, match="different sizes"):
        decode_for_evaluation(ImageFiles(files).read(), Evaluation())


def test_subsets_and_arrays_among_files(files, photographs):
    pictures = ImageFiles(files).concatenate(photographs[:2])
    assert len(pictures) == len(files) + 2
    some = pictures[torch.tensor([len(files), 1])]
    assert some.names() == ["(array)", str(files[1])]
    pixels = some.read().decode_each(lambda _, picture: np.asarray(picture))
    assert np.array_equal(pixels[0].transpose(2, 0, 1), photographs[0].numpy())
    assert len(pictures[2:4]) == 2
    assert pictures[np.arange(len(pictures)) < 3].names() == [str(file) for file in files[:3]]


def _damage(folder, files):
    """Creates a truncated image, a text file with an image suffix, and a missing file."""
    whole = (folder / "colour.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(whole[: len(whole) * 3 // 4])
    (folder / "text.jpg").write_text("not an image")
    return [*files, folder / "cut.jpg", folder / "text.jpg", folder / "gone.jpg"]


def test_damaged_images_are_skipped_named_once_and_counted(folder, files, caplog):
    caplog.set_level(logging.WARNING)
    damaged = _damage(folder, files)
    loader = Loader(ImageFiles(damaged), TorchViews((View(), View())), batch_size=5, seed=0)
    first = list(loader.epoch(0, size=16))
    seen = torch.cat([batch.index for batch in first]).tolist()
    assert sorted(seen) == list(range(len(files)))
    assert all(len(view) == len(batch.index) for batch in first for view in batch.views)
    assert loader.unreadable == {str(file) for file in damaged[len(files) :]}
    for name in ("cut.jpg", "text.jpg", "gone.jpg"):
        assert sum(name in message for message in caplog.messages) == 1
    caplog.clear()
    list(loader.epoch(1, size=16))
    assert not caplog.messages


def test_an_epoch_with_damaged_images_can_be_entered_in_the_middle(folder, files):
    damaged = _damage(folder, files)
    whole, rest = (Loader(ImageFiles(damaged), TorchViews((View(),)), 5, seed=3) for _ in range(2))
    for a, b in zip(list(whole.epoch(1, size=16))[1:], rest.epoch(1, size=16, start=1), strict=True):
        assert torch.equal(a.index, b.index)
        assert torch.equal(a.views[0], b.views[0])


def test_a_batch_is_filled_up_where_too_few_of_it_can_be_read(folder, files):
    """The last batch of an epoch has two images; in one of the epochs, one of them is damaged."""
    loader = Loader(ImageFiles([*files, folder / "gone.jpg"]), TorchViews((View(),)), 6, seed=0)
    assert len(loader.images) % 6 == 2
    for epoch in range(12):
        batches = list(loader.epoch(epoch, size=16))
        assert min(len(batch.index) for batch in batches) == 2
        assert set(torch.cat([batch.index for batch in batches]).tolist()) == set(range(len(files)))
    filled = [len(torch.cat([b.index for b in loader.epoch(epoch, size=16)])) > len(files) for epoch in range(12)]
    assert any(filled)


def test_other_errors_are_not_attributed_to_images(files):
    def fails(position, picture):
        raise IndexError("a mistake of the suite's own")

    with pytest.raises(IndexError, match="own"):
        ImageFiles(files).read().decode_each(fails)


def test_a_set_without_images_is_reported_in_one_line(tmp_path):
    for k in range(4):
        (tmp_path / f"{k}.jpg").write_text("not an image")
    loader = Loader(ImageFiles(sorted(tmp_path.iterdir())), TorchViews((View(),)), 4, seed=0)
    with pytest.raises(UserError, match=r"^fewer than 2 of 4 images can be read; restore .*\.jpg and the others$"):
        list(loader.epoch(0, size=16))


def test_unreadable_names_positions(folder, files):
    with pytest.raises(Unreadable, match="text") as caught:
        ImageFiles(_damage(folder, files)).read()
    assert sorted(caught.value.reasons) == [len(files) + 1, len(files) + 2]
    with pytest.raises(Unreadable, match="cut") as caught:
        ImageFiles([files[0], folder / "cut.jpg"]).read().decode_each(lambda _, picture: None)
    assert sorted(caught.value.reasons) == [1]


def test_further_images_are_mixed_among_images(files, photographs):
    loader = Loader(ImageFiles(files), TorchViews((View(),)), batch_size=4, seed=0)
    batches = list(loader.epoch(0, size=16, extra=photographs[:3]))
    index = torch.cat([batch.index for batch in batches])
    assert sorted(index.tolist()) == [-1, -1, -1, *range(len(files))]


def test_threads_change_nothing(files):
    def made(threads):
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            return TorchViews((View(), View()))(ImageFiles(files), seed=5, size=24)
        finally:
            torch.set_num_threads(before)

    assert all(torch.equal(a, b) for a, b in zip(made(1), made(3), strict=True))


def test_truncated_and_huge_files_are_found_without_decoding_the_others(folder, files, monkeypatch):
    Image.open(folder / "colour.jpg").save(folder / "a.webp")
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", None)
    check_files([str(file) for file in (*files, folder / "a.webp")])  # JPEG, PNG and WebP
    monkeypatch.undo()
    Image.new("RGB", (40, 40)).save(folder / "z.bmp")
    (folder / "padded.jpg").write_bytes((folder / "colour.jpg").read_bytes() + bytes(10))
    check_files([str(file) for file in sorted(folder.iterdir())])
    cut = [folder / name for name in ("a.webp", "colour.jpg", "alpha.png", "z.bmp")]
    for file in cut:
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(Unreadable) as error:
        check_files([str(file) for file in sorted(folder.iterdir())])
    assert [reason.split(" ")[0] for reason in error.value.reasons.values()] == sorted(map(str, cut))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(Unreadable, match="exceeds limit") as error:
        check_files([str(folder / "grey.jpg")])
    assert error.value.remedy == "scale down"
