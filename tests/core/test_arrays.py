"""Damage of numpy's files: every single-bit flip is harmless or an error."""

import numpy as np
import pytest

from core.arrays import Form, map_array, read_arrays, write_arrays
from core.schema import InvalidData

ARRAYS = {"counts": np.arange(3), "names": np.array(["a", "bc"]), "values": np.ones((2, 3, 5), dtype=np.float32)}
FORMS = {"counts": Form(np.int64, ("C",)), "names": Form(np.str_, ("Q",)), "values": Form(np.float32, ("Q", "C", 5))}


def _flips(content):
    for bit in range(8 * len(content)):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        yield bytes(flipped)


def test_a_flipped_bit_of_an_npz_file_is_harmless_or_an_error(tmp_path):
    file = tmp_path / "a.npz"
    write_arrays(file, **ARRAYS)
    refused = 0
    content = file.read_bytes()
    for flipped in _flips(content):
        file.write_bytes(flipped)
        try:
            found = read_arrays(file, "restore it", **FORMS)
        except InvalidData:
            refused += 1
        else:
            assert all(np.array_equal(found[name], array) for name, array in ARRAYS.items())
    assert refused > 4 * len(content)


def test_a_flipped_bit_of_the_header_of_an_npy_file_is_harmless_or_an_error(tmp_path):
    file = tmp_path / "a.npy"
    pixels = np.arange(3 * 8 * 8 * 3, dtype=np.uint8).reshape(3, 8, 8, 3)
    np.save(file, pixels)
    content = file.read_bytes()
    assert np.array_equal(map_array(file, "restore it"), pixels)
    header = len(content) - pixels.size
    refused = 0
    for flipped in _flips(content[:header]):
        file.write_bytes(flipped + content[header:])
        try:
            found = map_array(file, "restore it")
        except InvalidData:
            refused += 1
        else:
            assert found.tobytes() == pixels.tobytes()
    assert refused > 7 * header


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"names": None}, "it lacks the array names"),
        ({"values": np.ones((2, 3, 4), dtype=np.float32)}, "values has shape"),
        ({"values": np.ones((2, 4, 5), dtype=np.float32)}, "values has shape"),
        ({"counts": np.arange(3.0)}, "counts is float64"),
        ({"counts": np.ones((3, 1), dtype=np.int64)}, "counts is int64"),
        ({"names": np.array([{}, 1], dtype=object)}, "allow_pickle"),
    ],
)
def test_arrays_of_another_form_are_refused(tmp_path, changes, message):
    arrays = {name: array for name, array in (ARRAYS | changes).items() if array is not None}
    write_arrays(tmp_path / "a.npz", **arrays)
    with pytest.raises(InvalidData, match=message):
        read_arrays(tmp_path / "a.npz", "restore it", **FORMS)
