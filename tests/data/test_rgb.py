"""Every mode of Pillow: the same picture in training and probing, or a refusal by name."""

import numpy as np
import pytest
from PIL import Image

from data.image_files import ImageFiles, Unreadable
from data.rgb import WITHOUT_RANGE, to_rgb

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


@pytest.mark.parametrize("mode", [*MODES, *SIXTEEN])
def test_the_picture_is_the_same_in_every_mode(mode):
    found = to_rgb(in_mode(mode))
    assert found.mode == "RGB"
    levels = np.asarray(found).astype(int)
    assert np.abs(levels - GREY[..., None]).max() <= COARSE.get(mode, 0)


@pytest.mark.parametrize("mode", WITHOUT_RANGE)
def test_modes_without_a_range_are_refused_by_name(mode):
    with pytest.raises(ValueError, match=f"^mode {mode}, .*has no range; save the image with 8 or 16 bits$"):
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
