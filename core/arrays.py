"""Reads and writes arrays in files of numpy: `.npz` and `.npy`.

Every member of an `.npz` file has a CRC-32, which is verified when it is read.
"""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import first_line, is_out_of_memory
from core.files import read_bytes, write_atomic
from core.schema import InvalidData, damaged


@dataclass(frozen=True)
class Form:
    """Declared type and shape of an array. A size is a number, or a name: all sizes of one name in a file are equal."""

    dtype: type  # of numpy; may be abstract
    shape: tuple[int | str, ...] = ()


def write_arrays(file: Path, **arrays: Any) -> None:
    """Writes arrays into an `.npz` file, atomically. Raises UserError if it cannot be written."""
    write_atomic(file, lambda handle: np.savez_compressed(handle, **arrays))


def read_arrays(file: Path, advice: str, **forms: Form) -> dict[str, NDArray[Any]]:
    """Returns the arrays of an `.npz` file by name. Raises InvalidData if it is damaged or an array is not of its form."""
    try:
        # from memory, as numpy does not close a damaged file that it has opened itself
        with np.load(io.BytesIO(read_bytes(file)), allow_pickle=False) as content:
            arrays = dict(content)
        _check(arrays, forms)
        return arrays
    except Exception as error:  # numpy, zipfile and zlib have no common exception
        if is_out_of_memory(error):
            raise
        raise damaged(file, error, advice) from error


def map_array(file: Path, advice: str) -> NDArray[Any]:
    """Memory-maps a `.npy` file read-only. Raises InvalidData if it is damaged, or its size is not that of its header."""
    try:
        if not file.is_file():
            raise InvalidData("not a regular file")
        array = np.lib.format.open_memmap(file, mode="r")
        if array.offset + array.nbytes != file.stat().st_size:
            raise InvalidData("its size is not that of its header")
        return array
    except Exception as error:  # damaged headers raise exceptions of Python's parser too
        raise InvalidData(f"{file} is not a complete .npy file ({first_line(error)}); {advice}") from error


def _check(arrays: dict[str, NDArray[Any]], forms: dict[str, Form]) -> None:
    """Raises InvalidData unless each array has its declared form."""
    sizes: dict[int | str, int] = {}
    for name, form in forms.items():
        array = arrays.get(name)
        if array is None:
            raise InvalidData(f"it lacks the array {name}")
        if not np.issubdtype(array.dtype, form.dtype) or array.ndim != len(form.shape):
            raise InvalidData(f"{name} is {array.dtype} {array.shape}, not {form.dtype.__name__} {form.shape}")
        for size, found in zip(form.shape, array.shape, strict=True):
            if sizes.setdefault(size, size if isinstance(size, int) else found) != found:
                raise InvalidData(f"{name} has shape {array.shape}, which does not fit {form.shape} with the other arrays")
