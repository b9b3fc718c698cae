"""Every mode of Pillow: the same picture in training and probing, or a refusal by name."""

import pickle

import numpy as np
import pytest
from PIL import Image

from core.errors import UserError
from data.benchmark import BENCHMARKS
from data.datasets.image_folder import enter
from data.image_files import ImageFiles, Unreadable, check_files
from data.rgb import WITHOUT_RANGE, to_rgb
from tests.folders import class_images, write_images

RAMP = np.tile(np.linspace(0, 65535, 64).astype(np.uint16), (32, 1))
GREY = (RAMP / 257).round().astype(np.uint8)
SIXTEEN = ["I;16", "I;16L", "I;16B", "I;16N"]
MODES = ["1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "LAB", "HSV"]
COARSE = {"1": 255, "LAB": 8, "YCbCr": 3, "HSV": 3, "P": 26, "PA": 26}  # largest error in levels: the mode has fewer colours


def in_mode(mode: str) -> Image.Image:
    if mode in SIXTEEN:
        return Image.frombytes(mode, (64, 32), RAMP.astype(">u2" if mode == "I;16B" else "<u2").tobytes())
    grey = Image.fromarray(GREY)
    steps = {"La": ["LA"], "RGBa": ["RGBA"], "PA": ["P"]}.get(
        mode, ["RGB"] if mode in ("LAB", "HSV", "YCbCr", "CMYK", "RGBX") else []
    )
    for step in [*steps, mode]:
        grey = grey.convert(step)
    return grey


def test_every_mode_of_pillow_is_converted_or_refused():
    assert sorted([*MODES, *SIXTEEN, *WITHOUT_RANGE]) == sorted(Image.MODES)


@pytest.mark.parametrize("mode", [*MODES, *SIXTEEN])
def test_the_picture_is_the_same_in_every_mode(mode):
    found = to_rgb(in_mode(mode))
    assert found.mode == "RGB"
    levels = np.asarray(found).astype(int)
    assert np.abs(levels - GREY[..., None]).max() <= COARSE.get(mode, 0)


@pytest.mark.parametrize("mode", WITHOUT_RANGE)
def test_modes_without_a_range_are_refused_by_name(mode):
    with pytest.raises(ValueError, match=f"^mode {mode}, .*has no range; save the image with 8 bits, or .* 16$"):
        to_rgb(Image.new(mode, (4, 4)))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_files_of_16_bit_grey_are_not_white(kind, tmp_path):
    file = tmp_path / f"grey.{kind.lower()}"
    Image.fromarray(RAMP).save(file, kind)
    (decoded,) = ImageFiles([file]).read().decode_each(lambda _, image: np.asarray(image))
    assert np.array_equal(decoded[..., 0], GREY)


def test_a_file_of_a_mode_without_a_range_is_named(tmp_path):
    Image.fromarray(np.ones((4, 4), dtype=np.float32)).save(tmp_path / "float.tiff")
    with pytest.raises(Unreadable, match=r"float\.tiff \(mode F, floating point numbers, has no range"):
        ImageFiles([tmp_path / "float.tiff"]).read()


REMEDIES = {  # content of a file by its name: what to do about these files
    ("I",): "convert",
    ("F",): "convert",
    ("I", "F", "RGB", "I;16"): "convert",
    ("damaged",): "restore",
    ("missing", "RGB"): "restore",
    ("F", "damaged", "missing"): "convert or restore",
}


@pytest.mark.parametrize("contents", REMEDIES, ids=" ".join)
def test_images_without_a_range_are_converted_and_damaged_ones_restored(contents, tmp_path):
    paths = [f"{tmp_path}/{content.replace(';', '')}.tiff" for content in contents]
    for path, content in zip(paths, contents, strict=True):
        if content == "damaged":
            (tmp_path / "damaged.tiff").write_bytes(b"no image")
        elif content != "missing":
            (in_mode(content) if content == "I;16" else Image.new(content, (4, 4))).save(path)
    refused = [i for i, content in enumerate(contents) if content not in ("RGB", "I;16")]
    for read in (lambda: check_files(paths), lambda: ImageFiles(paths).read()):
        with pytest.raises(Unreadable) as caught:
            read()
        assert (sorted(caught.value.reasons), caught.value.remedy) == (refused, REMEDIES[contents])
        assert pickle.loads(pickle.dumps(caught.value)).remedy == REMEDIES[contents]
        for i in refused:
            assert (f"(mode {contents[i]}, " in caught.value.reasons[i]) == (contents[i] in WITHOUT_RANGE)


@pytest.mark.parametrize("mode", WITHOUT_RANGE)
def test_a_folder_with_an_image_without_a_range_is_refused_before_a_run(mode, tmp_path):
    write_images(tmp_path, class_images({"a": 6, "b": 6, "c": 6}))
    Image.new(mode, (4, 4)).save(tmp_path / "b" / "9.tiff")
    said = rf"1 of 19 images in .* cannot be read: .*b/9\.tiff \(mode {mode}, .* TIFF with 16\); convert or remove them$"
    with pytest.raises(UserError, match=said):
        BENCHMARKS[enter(tmp_path)]().load(tmp_path)
