"""Reads and writes the `.npz` files of a run folder."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import is_out_of_memory
from core.files import write_atomic


def write_arrays(file: Path, **arrays: Any) -> None:
    """Writes arrays into an `.npz` file, atomically. Raises UserError if it cannot be written."""
    write_atomic(file, lambda handle: np.savez_compressed(handle, **arrays))


def read_arrays(file: Path) -> dict[str, NDArray[Any]]:
    """Returns the arrays of an `.npz` file by name. Raises ValueError if it is missing or damaged."""
    try:
        # from memory, as numpy does not close a damaged file that it has opened itself
        with np.load(io.BytesIO(file.read_bytes()), allow_pickle=False) as content:
            return dict(content)
    except Exception as error:  # numpy, zipfile and zlib have no common exception
        if is_out_of_memory(error):
            raise
        raise ValueError(f"{file} is damaged ({error})") from error
